"""What a sweep leaves beside its runs: `python -m zoo.train -m model=lenet5,lenet_wide seed=0,1,2` writes a table and a chart.

Every run writes its `result.json`; the sweep's table is made of those that lie below its folder, so that a second sweep
into the same folder adds to it, and an interrupted one keeps what it has.
"""

import csv
import io
import json
import math
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from zoo.words import caption, csv_cell, markdown, printable


class SweepTable(Callback):
    """Hydra's callback at the end of a sweep."""

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        folder = Path(config.hydra.sweep.dir)
        if summarise(folder):
            print(f"\n{(folder / 'sweep.md').read_text()}\nThe table and the chart are in {printable(folder)}", flush=True)


def summarise(folder: Path) -> list[Mapping[str, Any]]:
    """Read the results below `folder` and write sweep.md, sweep.csv and sweep.png into it; what was read."""
    from zoo.data._files import write_whole

    results = [json.loads(path.read_text()) for path in sorted(folder.glob("*/result.json"))]
    if results:
        groups = grouped(results)
        write_whole(folder / "sweep.md", table(groups).encode())
        stream = io.StringIO(newline="")
        writer = csv.writer(stream)
        writer.writerow(["run", "seed", "metric", "test", "val", "scored", "parameters", "multiply-adds", "seconds"])
        for name, runs in groups.items():
            for run in runs:
                keys = ("seed", "metric", "test", "val", "scored", "parameters", "macs", "seconds")
                writer.writerow(map(csv_cell, [name, *(run[key] for key in keys)]))
        write_whole(folder / "sweep.csv", stream.getvalue().encode())
        draw(groups, folder / "sweep.png")
    return results


def grouped(results: Sequence[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    """Runs that differ by their seed only, under the settings that not all runs share, or the model's name."""
    settings = [[each for each in run["overrides"] if not each.startswith("seed=")] for run in results]
    common = set.intersection(*map(set, settings))
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for run, own in zip(results, settings, strict=True):
        name = " ".join(each.removeprefix("model=") for each in own if each not in common) or run["names"]["model"]
        groups.setdefault(name, []).append(run)
    return groups


def table(groups: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """One line a group of runs: the test metric's mean and spread over seeds, size, time."""
    from zoo.report import figure, quantity

    lines = ["| run | data | test | scored | parameters | multiply-adds | seeds | time |\n|---|---|---|---|---|---|---|---|\n"]
    for name, runs in groups.items():
        scores, one = [run["test"] for run in runs], runs[0]
        metric = f"{markdown(one['metric'])} {figure(statistics.mean(scores))}"
        spread = f" ± {statistics.stdev(scores):.3f}" if len(runs) > 1 else ""
        seconds = f"{min(run['seconds'] for run in runs):.0f} to {max(run['seconds'] for run in runs):.0f} s"
        lines.append(
            f"| {markdown(name)} | {markdown(one['names']['data'])} | {metric}{spread} | "
            f"{one['scored']:,} | {quantity(one['parameters'])} | {quantity(one['macs'])} at "
            f"{' x '.join(map(str, one['shape']))} | {', '.join(str(run['seed']) for run in runs)} | {seconds} |\n"
        )
    everything = [run for runs in groups.values() for run in runs]
    conditions = sorted({f"{run['device']}, precision {run['precision']}; {run['versions']}" for run in everything})
    return "".join(lines) + "\n" + "\n".join(map(markdown, conditions)) + "\n"


def draw(groups: Mapping[str, Sequence[Mapping[str, Any]]], path: Path) -> None:
    """Bars of the test metric, one a group, its runs as dots; the data's landmarks as lines, with three deviations to the
    right of each: what a sample of that many can give by luck."""
    from matplotlib.figure import Figure

    names = list(groups)
    picture = Figure(figsize=(8, 1.2 + 0.36 * len(names)), layout="constrained")
    panel = picture.subplots()
    means = [statistics.mean(run["test"] for run in groups[name]) for name in names]
    panel.barh(range(len(names)), means, color="tab:blue", alpha=0.75)
    panel.set_yticks(range(len(names)), map(caption, names))
    for place, name in enumerate(names):
        panel.plot([run["test"] for run in groups[name]], [place] * len(groups[name]), "k.", markersize=4)
        panel.annotate(f" {means[place]:.3f}", (means[place], place), va="center", fontsize=8)
    first = groups[names[0]][0]
    for name, value in first["landmarks"].items():
        sigma = math.sqrt(value * (1 - value) / first["scored"])
        panel.axvline(value, color="tab:red", linestyle="--", linewidth=1)
        panel.axvspan(value, value + 3 * sigma, color="tab:red", alpha=0.12, linewidth=0)
        panel.annotate(f" {caption(name)}", (value, 1.01), xycoords=("data", "axes fraction"), fontsize=8, color="tab:red")
    if first["metric"] != "loss" and max(means) <= 1:
        panel.set_xlim(0, 1.08)
    panel.invert_yaxis()
    panel.set_xlabel(caption(f"test {first['metric']}, {first['names']['data']}"))
    picture.savefig(path, dpi=130)
