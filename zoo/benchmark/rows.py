"""The rows of a benchmark, and the files that hold them."""

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

from zoo.common.words import csv_cell


@dataclass(frozen=True)
class Row:
    """One model run in one way. Rates are samples a second, latencies milliseconds, memory bytes; low and high are the
    least and the most of the rounds that the median is of."""

    model: str
    family: str
    """The file of `zoo.models` it is in."""
    task: str
    input_shape: str
    params: int
    macs: int
    flops: int
    no_formula: str = ""
    """Operations that may hold multiply-adds beyond those counted."""
    weights: str = ""
    accuracy: float | None = None
    """Per cent."""
    accuracy_what: str = ""
    accuracy_from: str = ""
    """measured here, or published."""
    device: str = ""
    mode: str = ""
    precision: str = ""
    layout: str = ""
    training_batch: int | None = None
    training_rate: float | None = None
    training_low: float | None = None
    training_high: float | None = None
    training_memory: int | None = None
    inference_batch: int | None = None
    inference_rate: float | None = None
    inference_low: float | None = None
    inference_high: float | None = None
    inference_memory: int | None = None
    latency_p50: float | None = None
    latency_p95: float | None = None
    """One sample at a time."""
    hardware: str = ""
    versions: str = ""
    date: str = ""
    notes: list[str] = field(default_factory=list)
    """What did not go as asked."""


def read_rows(folder: Path) -> list[Row]:
    """The rows that a folder holds."""
    path = folder / "benchmark.json"
    try:
        return [Row(**row) for row in json.loads(path.read_text())] if path.exists() else []
    except (json.JSONDecodeError, TypeError) as error:
        raise ValueError(f"{path} is not a result of this version ({error}). Move it, or choose another folder=.") from None


def write_rows(rows: Sequence[Row], folder: Path) -> None:
    from zoo.common.places import write_outcome, write_whole

    plain = [asdict(row) for row in rows]
    write_outcome(folder / "benchmark.json", plain)
    text = io.StringIO()
    table = csv.DictWriter(text, [each.name for each in fields(Row)], lineterminator="\n")
    table.writeheader()
    for row in plain:
        table.writerow({key: csv_cell(value) for key, value in {**row, "notes": "; ".join(row["notes"])}.items()})
    write_whole(folder / "benchmark.csv", text.getvalue().encode())
