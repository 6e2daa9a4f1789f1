"""The table and the chart of a sweep: `python -m zoo.train -m model=lenet5,lenet_wide seed=0,1,2` writes them.

Every run writes its `result.json`; the sweep's table is made of those that lie below its folder, so that a second sweep
into the same folder adds to it, and an interrupted one keeps what it has. A run that fails leaves its sentence in
`failed.json`, and the others run.
"""

import csv
import io
import math
import statistics
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from zoo.common.words import caption, csv_cell, json_text, markdown, printable

FAILED = "failed.json"


class SweepTable(Callback):
    """Hydra's callback that writes the table of a sweep at its end, also an early one."""

    under_way: "SweepTable | None" = None

    @classmethod
    @contextmanager
    def written(cls) -> Iterator[None]:
        """Write and print the table at the end of a sweep, if there is one, however it ends; exit with status 1 if a run
        failed."""
        failed = 0
        try:
            yield
        finally:
            if cls.under_way:
                failed = cls.under_way.end()
        if failed:
            raise SystemExit(1)

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        SweepTable.under_way = self
        self.folder = Path(config.hydra.sweep.dir)
        self.before = self._failures()

    def _failures(self) -> set[tuple[Path, int]]:
        return {(path, path.stat().st_mtime_ns) for path in self.folder.glob(f"*/{FAILED}")}

    def end(self) -> int:
        """Write and print the table; return how many runs of this sweep failed."""
        SweepTable.under_way = None
        if summarize(self.folder):
            print(f"\n{(self.folder / 'sweep.md').read_text()}\nThe table is in {printable(self.folder)}", flush=True)
        return len(self._failures() - self.before)


@contextmanager
def outlived(config: DictConfig, sentence: Callable[[BaseException], str | None]) -> Iterator[None]:
    """Let one run of a sweep fail without the others: its error is printed, and kept in its folder."""
    from zoo.common.places import write_whole
    from zoo.run.compose import choices_of, overrides_of

    path = Path(config.run_dir) / FAILED
    path.unlink(missing_ok=True)
    try:
        yield
    except Exception as error:
        said = sentence(error)
        if said is None or config.debug:
            traceback.print_exc()
        said = said or f"{type(error).__name__}: {' '.join(str(error).split())}"
        print(f"Error: {said}", file=sys.stderr, flush=True)
        overrides = overrides_of(config)
        content = {"names": choices_of(config), "overrides": overrides, "seed": config.seed, "error": said}
        write_whole(path, f"{json_text(content, indent=1)}\n".encode())


_FAILURE = ("names", "overrides", "seed", "error")
_RESULT = (
    *("names", "overrides", "seed", "metric", "test", "val", "scored", "parameters", "macs", "shape", "seconds"),
    *("device", "precision", "versions", "landmarks"),
)
"""What is read of an outcome."""


def _read(folder: Path, name: str) -> list[Mapping[str, Any]]:
    """The outcomes of that name; one that cannot be read is reported and skipped."""
    from zoo.common.places import read_outcome

    found: list[Mapping[str, Any]] = []
    for path in sorted(folder.glob(f"*/{name}")):
        try:
            found.append(read_outcome(path, *(_FAILURE if name == FAILED else _RESULT)))
        except ValueError as error:
            print(f"Not in the table: {printable(error)}", file=sys.stderr)
    return found


def summarize(folder: Path) -> list[Mapping[str, Any]]:
    """Write sweep.md, sweep.csv and sweep.png of the outcomes below `folder` into it; return the outcomes."""
    from zoo.common.places import write_whole

    results = [*_read(folder, "result.json"), *_read(folder, FAILED)]
    if results:
        groups = grouped(results)
        write_whole(folder / "sweep.md", table(groups).encode())
        stream = io.StringIO(newline="")
        writer = csv.writer(stream)
        writer.writerow(["run", "seed", "metric", "test", "val", "scored", "parameters", "multiply-adds", "seconds", "error"])
        for name, runs in groups.items():
            for run in runs:
                keys = ("seed", "metric", "test", "val", "scored", "parameters", "macs", "seconds", "error")
                writer.writerow(map(csv_cell, [name, *(run.get(key, "") for key in keys)]))
        write_whole(folder / "sweep.csv", stream.getvalue().encode())
        if done := _done(groups):
            draw(done, folder / "sweep.png")
    return results


def _done(groups: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, list[Mapping[str, Any]]]:
    """The groups without the runs that failed."""
    done = {name: [run for run in runs if "error" not in run] for name, runs in groups.items()}
    return {name: runs for name, runs in done.items() if runs}


def grouped(results: Sequence[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    """Runs that differ by their seed only, under the settings that not all runs share, or the model's name."""
    settings = [[each for each in run["overrides"] if not each.startswith(("seed=", "resume="))] for run in results]
    common = set.intersection(*map(set, settings))
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for run, own in zip(results, settings, strict=True):
        name = " ".join(each.removeprefix("model=") for each in own if each not in common) or run["names"]["model"]
        groups.setdefault(name, []).append(run)
    return groups


def table(groups: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """One line a group of runs: the test metric's mean and spread over seeds, size, time."""
    from zoo.common.numbers import figure, quantity

    lines = ["| run | data | test | scored | parameters | multiply-adds | seeds | time |\n|---|---|---|---|---|---|---|---|\n"]
    for name, done in _done(groups).items():
        scores, one = [run["test"] for run in done], done[0]
        metric = f"{markdown(one['metric'])} {figure(statistics.mean(scores))}"
        spread = f" ± {statistics.stdev(scores):.3f}" if len(done) > 1 else ""
        seconds = f"{min(run['seconds'] for run in done):.0f} to {max(run['seconds'] for run in done):.0f} s"
        lines.append(
            f"| {markdown(name)} | {markdown(one['names']['data'])} | {metric}{spread} | "
            f"{one['scored']:,} | {quantity(one['parameters'])} | {quantity(one['macs'])} at "
            f"{' x '.join(map(str, one['shape']))} | {', '.join(str(run['seed']) for run in done)} | {seconds} |\n"
        )
    for name, runs in groups.items():
        for run in runs:
            if "error" in run:
                where = f"{markdown(name)} | {markdown(run['names']['data'])}"
                lines.append(f"| {where} | failed: {markdown(run['error'])} | | | | {run['seed']} | |\n")
    everything = [run for runs in _done(groups).values() for run in runs]
    conditions = sorted({f"{run['device']}, precision {run['precision']}; {run['versions']}" for run in everything})
    return "".join(lines) + "\n" + "\n".join(map(markdown, conditions)) + "\n"


def draw(groups: Mapping[str, Sequence[Mapping[str, Any]]], path: Path) -> None:
    """Bars of the test metric, one a group, its runs as dots; the data's landmarks as lines, with three deviations to the
    right of each: what a sample of that many can give by luck."""
    from matplotlib.figure import Figure

    from zoo.common.draw import save

    names = list(groups)
    picture = Figure(figsize=(8, 1.2 + 0.36 * len(names)), layout="constrained")
    panel = picture.subplots()
    means = [statistics.mean(run["test"] for run in groups[name]) for name in names]
    panel.barh(range(len(names)), means, color="tab:blue", alpha=0.75)
    panel.set_yticks(range(len(names)), map(caption, names))
    for place, name in enumerate(names):
        scores = [run["test"] for run in groups[name]]
        panel.plot(scores, [place] * len(scores), "k.", markersize=4)
        panel.annotate(f" {means[place]:.3f}", (max(scores), place), va="center", fontsize=8)
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
    save(picture, path, dpi=130)
