"""The book of files that could not be read: they are skipped, counted and named, and too many are refused."""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import MappingProxyType
from typing import Any

import lightning
import torch
import torch.distributed

from zoo.batch import Batch
from zoo.common.files import Unreadable as Unreadable
from zoo.common.progress import beating
from zoo.common.renaming import Renamed
from zoo.data.loading.dataset import Found, Item, SplitDataset, attempt

HANDFUL = 5
"""So many unreadable files end no run, whatever their share."""


class Skipping(Renamed, lightning.LightningDataModule):
    """What a data module keeps of the files that it skips."""

    old_names = MappingProxyType(
        {"bad": "skipped", "left_out": "skipped_counts", "withheld": "skipped_groups", "gather_bad": "gather_skipped"}
    )
    max_bad: float
    splits: dict[str, SplitDataset]

    def __init__(self) -> None:
        super().__init__()
        self.skipped: dict[str, str] = {}
        """File to reason: all that could not be read so far, and are skipped."""
        self.strict = True
        """Whether too many unreadable files are refused, or only booked."""
        self.skipped_counts: dict[str, int] = {}
        """Split to the number of its files that are skipped since their headers were checked."""
        self.skipped_groups: dict[str, str] = {}
        """File to reason: what an official list holds and no split serves."""

    def readable(self, items: Sequence[Item], check: Callable[[Item], Found], split: str) -> Iterable[tuple[int, Found]]:
        """Check every file of a split, or what stands for it; (position, what was found) of the good ones; the bad ones are
        booked, and too many refused, if the data set is strict."""
        with ThreadPoolExecutor(min(16, 2 * (os.cpu_count() or 1))) as pool:
            outcomes: list[Found | Unreadable] = []
            try:
                with beating(f"looking at the files of {split}", lambda: f"{len(outcomes):,} of {len(items):,}"):
                    outcomes.extend(pool.map(lambda item: attempt(check, item), items))
            except BaseException:  # a signal: what has not begun is not begun
                pool.shutdown(wait=False, cancel_futures=True)
                raise
        failures = {str(outcome.path): outcome.reason for outcome in outcomes if isinstance(outcome, Unreadable)}
        self.skipped.update(failures)
        self._check_share(failures, len(items))
        self.skipped_counts[split] = len(failures)
        return [(at, outcome) for at, outcome in enumerate(outcomes) if not isinstance(outcome, Unreadable)]

    def on_before_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """Keep the book of files that failed to decode; too many end the run."""
        if isinstance(batch, dict):  # a loader of the user's own in a subclass may serve anything
            self.skipped.update(batch.pop("bad", {}))
        if self.splits:
            self._check_share(self.skipped, sum(len(samples) // samples.views for samples in self.splits.values()))
        return batch

    def gather_skipped(self) -> None:
        """Put every rank's unreadable files in every rank's book: a file is decoded by one of them only."""
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            books: list[Any] = [None] * torch.distributed.get_world_size()
            torch.distributed.all_gather_object(books, self.skipped)
            for book in books:
                self.skipped.update(book)

    def _check_share(self, bad: Mapping[str, str], total: int) -> None:
        """Refuse more unreadable files of so many than are allowed. A handful is skipped in any set, but not all of one."""
        allowed = max(HANDFUL, self.max_bad * total) if self.max_bad else 0
        if self.strict and (len(bad) > allowed or len(bad) == total > 0):
            raise ValueError(too_many_bad(bad, total, self.max_bad))


def too_many_bad(bad: Mapping[str, str], total: int, allowed: float) -> str:
    path, reason = next(iter(bad.items()))
    if len(bad) == total:
        return f"Not one of {total} files can be read; the first is {path} ({reason}). Repair or replace them."
    return (
        f"{len(bad)} of {total} files cannot be read, more than data.max_bad={allowed:g} allows; the first is {path} "
        f"({reason}). Repair or remove them, or raise data.max_bad."
    )
