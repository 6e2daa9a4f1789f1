"""The table of a run's metrics, `metrics.csv`: one row for what is logged at a step, and no row lost or doubled by a resume."""

import contextlib
import csv
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities import rank_zero_only

from zoo.common.places import write_whole

Row = dict[str, Any]


class MetricsCsv(Logger):
    """Rows of metrics with their step, in `save_dir/metrics.csv`; the columns are in the order of their names.

    Lightning's CSVLogger begins a new file where it finds one. This one goes on with it: a run that is taken up again says
    by `rewind` how far it had come, and what an interrupted one logged beyond that is dropped, for it is logged again.

    Args:
        save_dir: the run folder.
        flush_every: rows that are kept in memory before they are written.
    """

    def __init__(self, save_dir: str, flush_every: int = 100) -> None:
        super().__init__()
        self.path = Path(save_dir) / "metrics.csv"
        self.flush_every = flush_every
        self._columns: list[str] = []
        self._waiting: list[Row] = []

    @property
    def name(self) -> str:
        return ""

    @property
    def version(self) -> str:
        return ""

    @property
    def save_dir(self) -> str:
        return str(self.path.parent)

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        """The checkpoint carries them."""

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        self._waiting.append({**metrics, "step": step})
        if len(self._waiting) >= self.flush_every:
            self.save()

    @rank_zero_only
    def rewind(self, step: int) -> None:
        """Forget what was logged from this step on, and all of an earlier run in this folder if the step is 0."""
        rows = [row for row in self._read() if row["step"].isdecimal() and int(row["step"]) < step]
        self._columns = sorted({name for row in rows for name in row})
        if rows:
            self._write(rows)
        else:
            self.path.unlink(missing_ok=True)

    @rank_zero_only
    def save(self) -> None:
        """Write what waits. A new column rewrites the file, in one step."""
        if not self._waiting:
            return
        new = {name for row in self._waiting for name in row} - set(self._columns)
        if new or not self.path.is_file():
            rows = [*self._read(), *self._waiting]
            self._columns = sorted({name for row in rows for name in row})
            self._write(rows)
        else:
            with self.path.open("a", newline="") as stream:
                csv.DictWriter(stream, self._columns).writerows(self._waiting)
        self._waiting = []

    def finalize(self, status: str) -> None:
        # After a failure another one, a full disk's for instance, would hide the first.
        with contextlib.suppress(OSError) if status == "failed" else contextlib.nullcontext():
            self.save()

    def _read(self) -> list[dict[str, str]]:
        """The rows on disk, of each what it has; one that a kill has cut short is none."""
        if not self.path.is_file():
            return []
        with self.path.open(newline="") as stream:
            rows = list(csv.DictReader(stream))
        whole = [row for row in rows if None not in row and None not in row.values() and row.get("step")]
        return [{name: value for name, value in row.items() if value} for row in whole]

    def _write(self, rows: list[Any]) -> None:
        stream = io.StringIO(newline="")
        writer = csv.DictWriter(stream, self._columns)
        writer.writeheader()
        writer.writerows(rows)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(self.path, stream.getvalue().encode())
