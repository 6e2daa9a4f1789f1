"""Write README's table of models and its plot: `python tools/readme.py`. A test says when they are stale.

Costs are counted anew; what was measured comes from results/benchmark, which `python -m zoo.benchmark "*"
folder=benchmarks/results/benchmark` writes.
"""

import hashlib
import json
import re
from pathlib import Path

import torch

import zoo
from zoo.benchmark import charts
from zoo.benchmark.rows import Row, read_rows
from zoo.common.numbers import quantity
from zoo.models._entries import entries_of
from zoo.models._registry import get_builder
from zoo.run.network import untrained_net

TOP = Path(__file__).parent.parent
README = TOP / "README.md"
RESULTS = TOP / "benchmarks" / "results" / "benchmark"
PLOT = RESULTS / "accuracy_macs.png"
BEGIN, END = "<!-- models: python tools/readme.py -->\n", "<!-- /models -->"


def measured() -> dict[str, Row]:
    """Of each model its first row: the default way of running it."""
    return {row.model: row for row in reversed(read_rows(RESULTS))}


def cells(name: str, row: Row | None) -> dict[str, str]:
    """What `zoo.train model=NAME size=paper` builds, with its builder's own number of classes."""
    with torch.device("meta"):
        _, net, shape = untrained_net([f"model={name}"])
    cost = zoo.profile(net, shape)
    if row and (row.params, row.macs) != (cost.params, cost.macs):
        raise ValueError(f"{name} is no longer the network of {RESULTS}. Measure it again: python -m zoo.benchmark {name}")
    about = re.split(r"[;:.]", (get_builder(name).__doc__ or "").strip().splitlines()[0])[0]
    accuracy = _published(name)
    if row and row.accuracy is not None:
        accuracy = f"{row.accuracy:.2f} % {row.accuracy_what} ({row.accuracy_from})"
    latency = "" if not row or row.latency_p50 is None else f"{row.latency_p50:.3g}"
    rate = "" if not row or row.training_rate is None else f"{row.training_rate:.3g}"
    return {
        "model": f"`{name}`",
        "what it is": about,
        "input": " x ".join(map(str, shape)),
        "parameters": quantity(cost.params),
        "multiply-adds": quantity(cost.macs),
        "FLOPs": quantity(cost.flops),
        "accuracy of the default weights": accuracy,
        "latency, ms": latency,
        "training, samples/s": rate,
    }


def _published(name: str) -> str:
    """What the publisher of a network's default weights states."""
    entry = next(iter(entries_of(name).values()), None)
    if entry is None or not entry.accuracies:
        return ""
    return f"{entry.accuracies[0].percent:.2f} % {entry.accuracies[0].what} (published)"


def table() -> str:
    """Columns in which nothing was measured are left out, and the conditions of those in which something was stand below."""
    rows = measured()
    lines = [cells(name, rows.get(name)) for name in zoo.list_models()]
    shown = [column for column in lines[0] if any(line[column] for line in lines)]
    marks = ["---:" if column in ("parameters", "multiply-adds", "FLOPs") else "---" for column in shown]
    text = f"| {' | '.join(shown)} |\n|{'|'.join(marks)}|\n"
    text += "".join(f"| {' | '.join(line[column] for column in shown)} |\n" for line in lines)
    said = {
        f"Latency of one sample and training rate: {row.mode}, {row.precision}; {row.hardware}; {row.versions}; {row.date}."
        for row in rows.values()
        if row.mode
    }
    text += "".join(f"\n{each}\n" for each in sorted(said))
    if charts.points(read_rows(RESULTS), "macs"):
        text += f"\n![Accuracy over multiply-adds]({PLOT.relative_to(README.parent).as_posix()})\n"
    return text


def renewed(text: str) -> str:
    before, rest = text.split(BEGIN)
    return before + BEGIN + table() + END + rest.split(END, 1)[1]


def digest() -> str:
    """Of what the plot shows; the picture carries it, so that a stale one is known."""
    return hashlib.sha256(json.dumps(charts.points(read_rows(RESULTS), "macs")).encode()).hexdigest()


def main() -> None:
    README.write_text(renewed(README.read_text()))
    charts.draw(read_rows(RESULTS), "macs", "multiply-adds", PLOT, Points=digest())


if __name__ == "__main__":
    main()
