"""The output of a benchmark: a table, pictures, and a page that needs no internet."""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from zoo.common.draw import save
from zoo.common.numbers import quantity
from zoo.common.words import caption, code, json_text, markdown, printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from zoo.benchmark.rows import Row

_PAGE = Path(__file__).parent / "page.html"


def write(rows: Sequence["Row"], folder: Path) -> None:
    """benchmark.md, benchmark.html, and a picture for each axis that there are figures for."""
    from zoo.common.places import write_whole

    write_whole(folder / "benchmark.md", table(rows).encode())
    write_whole(folder / "benchmark.html", page(rows).encode())
    draw(rows, "macs", "multiply-adds", folder / "accuracy_macs.png")
    draw(rows, "latency_p50", "latency of one sample, ms", folder / "accuracy_latency.png")


def line(row: "Row") -> str:
    """A row on the screen."""
    told = [f"{row.model}: {row.input_shape}", f"{quantity(row.params)} parameters", f"{quantity(row.macs)} multiply-adds"]
    if row.accuracy is not None:
        told.append(f"{row.accuracy:g} % {row.accuracy_what} ({row.accuracy_from})")
    if row.mode:
        told.append(f"{row.mode}, {row.precision}, {row.layout}")
    for phase, rate, batch in (
        ("training", row.training_rate, row.training_batch),
        ("inference", row.inference_rate, row.inference_batch),
    ):
        if rate is not None:
            told.append(f"{phase} {_rate(rate)}/s by {batch}")
    if row.latency_p50 is not None:
        told.append(f"latency {row.latency_p50:.3g} ms")
    return printable(", ".join(told))


# The table


def _rate(value: float | None) -> str:
    return "" if value is None else f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _spread(rate: float | None, low: float | None, high: float | None) -> str:
    return "" if rate is None else f"{_rate(rate)} ({_rate(low)} to {_rate(high)})"


def _memory(*counts: int | None) -> str:
    return " / ".join("-" if n is None else f"{n / 2**20:,.0f} MiB" for n in counts)


def _accuracy(row: "Row") -> str:
    return "" if row.accuracy is None else f"{row.accuracy:g} % {row.accuracy_what} ({row.accuracy_from}: {row.weights})"


def _latency(row: "Row") -> str:
    return "" if row.latency_p50 is None else f"{row.latency_p50:.3g} / {row.latency_p95:.3g}"


_COLUMNS: dict[str, Callable[["Row"], str]] = {
    "model": lambda row: code(row.model) if row.model.isidentifier() else markdown(row.model),
    "input": lambda row: row.input_shape,
    "parameters": lambda row: quantity(row.params),
    "multiply-adds": lambda row: quantity(row.macs) + (" at least" if row.no_formula else ""),
    "FLOPs": lambda row: quantity(row.flops) + (" at least" if row.no_formula else ""),
    "accuracy": _accuracy,
    "run": lambda row: ", ".join(filter(None, (row.mode, row.precision, row.layout))),
    "training, samples/s (low to high)": lambda row: _spread(row.training_rate, row.training_low, row.training_high),
    "inference, samples/s (low to high)": lambda row: _spread(row.inference_rate, row.inference_low, row.inference_high),
    "batch, training / inference": lambda row: (
        f"{row.training_batch or '-'} / {row.inference_batch or '-'}" if row.training_batch or row.inference_batch else ""
    ),
    "latency p50 / p95, ms": _latency,
    "peak memory, training / inference": lambda row: (
        _memory(row.training_memory, row.inference_memory) if row.training_batch or row.inference_batch else ""
    ),
    "notes": lambda row: "; ".join(row.notes),
}


def table(rows: Sequence["Row"]) -> str:
    """Markdown. Columns in which nothing was measured are left out; the conditions stand above."""
    cells = [{name: text(row) if name == "model" else markdown(text(row)) for name, text in _COLUMNS.items()} for row in rows]
    shown = [name for name in _COLUMNS if any(each[name] for each in cells)]
    conditions = dict.fromkeys(f"{row.hardware}; {row.versions}; {row.date}" for row in rows if row.hardware)
    return (
        "# Benchmark\n\nEach network is its paper's at its paper's input shape; an accuracy is that of the named weights.\n"
        "Rates are medians over rounds, a latency is that of one sample alone, memory is the peak beyond the libraries'.\n"
        "Written by `python -m zoo.benchmark`.\n\n"
        + "".join(f"{markdown(each)}\n\n" for each in conditions)
        + f"| {' | '.join(shown)} |\n|{'---|' * len(shown)}\n"
        + "".join(f"| {' | '.join(each[name] for name in shown)} |\n" for each in cells)
    )


# Pictures


def points(rows: Sequence["Row"], x: str) -> dict[str, list[tuple[float, float, str, bool]]]:
    """Accuracy's kind to (x, accuracy, model, measured here) of each model, in its first row that has both."""
    found: dict[str, dict[str, tuple[float, float, str, bool]]] = {}
    for row in rows:
        value = getattr(row, x)
        if value is not None and row.accuracy is not None:
            kind = found.setdefault(row.accuracy_what, {})
            kind.setdefault(row.model, (value, row.accuracy, row.model, row.accuracy_from == "measured"))
    return {what: list(each.values()) for what, each in found.items()}


def draw(rows: Sequence["Row"], x: str, label: str, path: Path, **metadata: str) -> bool:
    """Accuracy over a column, a panel for each kind of accuracy; a full point was measured, a hollow one published.

    Nothing is drawn, and False returned, where no row has both.
    """
    kinds = points(rows, x)
    if not kinds:
        path.unlink(missing_ok=True)
        return False
    from matplotlib.figure import Figure
    from matplotlib.ticker import EngFormatter, LogLocator, NullLocator

    figure = Figure(figsize=(6.5 * len(kinds), 4.6), layout="constrained")
    for panel, (what, places) in zip(figure.subplots(1, len(kinds), squeeze=False)[0], kinds.items(), strict=True):
        for value, accuracy, _, measured in places:
            panel.plot(value, accuracy, "o", color="tab:blue", markerfacecolor="tab:blue" if measured else "none")
        panel.set(xscale="log", xlabel=label, ylabel=caption(f"{what}, %"))
        panel.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        panel.xaxis.set_major_formatter(EngFormatter())
        panel.xaxis.set_minor_locator(NullLocator())
        panel.margins(x=0.15, y=0.08)
        panel.grid(alpha=0.3)
    figure.draw_without_rendering()  # the panels come to lie where they will be, and names leave them there
    for panel, places in zip(figure.axes, kinds.values(), strict=True):
        _name(panel, [place[:3] for place in places])
    how = {f"{row.mode}, {row.precision}, {row.hardware}" for row in rows if row.mode and x.startswith("latency")}
    figure.suptitle("full: measured; hollow: published" + "".join(f"; {caption(each)}" for each in sorted(how)[:1]), fontsize=8)
    save(figure, path, dpi=120, metadata=metadata or None)
    return True


_SIDES = ((7, 0, "left", "center"), (-7, 0, "right", "center"), (0, 6, "center", "bottom"), (0, -6, "center", "top"))
"""Where a name may stand, the best first: points from its mark, and which of its own edges is there."""


def _name(panel: "Axes", marks: Sequence[tuple[float, float, str]]) -> None:
    """Write each name beside its mark, on the first side on which it covers the fewest other marks and names."""
    from matplotlib.transforms import Bbox

    spots = [panel.transData.transform((x, y)) for x, y, _ in marks]
    covered = [Bbox.from_bounds(x - 6, y - 6, 12, 12) for x, y in spots]
    for own, (x, y, name) in enumerate(marks):
        others = covered[:own] + covered[own + 1 :]
        texts = [
            panel.annotate(
                caption(name), (x, y), side[:2], textcoords="offset points", fontsize=7, ha=side[2], va=side[3], in_layout=False
            )
            for side in _SIDES
        ]
        best = min(texts, key=lambda text: text.get_window_extent().count_overlaps(others))
        for text in texts:
            if text is not best:
                text.remove()
        covered.append(best.get_window_extent())


# The page


def page(rows: Sequence["Row"]) -> str:
    """One file with its data, style and script inside."""
    data = json_text([asdict(row) for row in rows])
    for mark in "<>&":  # nothing in the data may close the element they are in
        data = data.replace(mark, f"\\u{ord(mark):04x}")
    return _PAGE.read_text().replace("/*ROWS*/[]", data, 1)
