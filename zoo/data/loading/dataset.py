"""One split of a data set, which makes whole batches; and the split whose samples are decoded one at a time."""

import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar, cast

import torch
import torch.distributed
from torch import Tensor
from torch.nn.functional import pad
from torch.utils.data import Dataset

from zoo.batch import Batch
from zoo.common.files import Unreadable as Unreadable
from zoo.data.loading.workers import NOTHING, now_reading

Draw = tuple[int, int]
"""(epoch, index): what a sampler yields. With the seed it determines every random choice made for the sample."""

Item = TypeVar("Item")
Found = TypeVar("Found")


class SplitDataset(Dataset[dict[str, Any]]):
    """One split. `split[3]` is a sample, a dictionary of the fields of `zoo.Batch` without the batch's axis; of an epoch other
    than the first it is `split[epoch, 3]`, with that epoch's random choices.

    A subclass makes whole batches, so that sets in memory pay no price per sample. Any DataLoader serves a split: by its
    default where samples are of one shape, else with `collate_fn=zoo.data.collate`.
    """

    views: int = 1
    """Views (clips, crops) served of each image or video; sample `k` is view `k % views` of number `k // views`."""

    def __len__(self) -> int:
        raise NotImplementedError

    def batch(self, draws: Sequence[Draw], /) -> Batch:
        """Several samples. One that cannot be read is missing, and named in `bad`."""
        raise NotImplementedError

    def __getitem__(self, index: int | Draw, /) -> dict[str, Any]:
        """One sample. Raises IndexError; `Unreadable` where its file cannot be read."""
        epoch, at = index if isinstance(index, tuple) else (0, operator.index(index))
        if not -len(self) <= at < len(self):
            raise IndexError(f"There is no sample {at}; the split has {len(self):,}.")
        batch: dict[str, Any] = {**self.batch([(epoch, at % len(self))])}
        for name, why in batch.pop("bad", {}).items():
            raise Unreadable(Path(name), why)
        return {name: column[0] for name, column in batch.items()}

    def __getitems__(self, indices: Sequence[int] | Sequence[Draw], /) -> Any:
        """A batch of draws, as a data module's loaders ask for; the samples of numbers, as any other DataLoader does."""
        if all(isinstance(index, tuple) for index in indices):
            return self.batch(cast(Sequence[Draw], indices))
        return [self[index] for index in indices]


def collate(samples: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Samples of a split as a batch, for a DataLoader's `collate_fn`. Images with objects lie in the upper left of one input,
    each at its own size. Raises ValueError where other images differ in size."""
    columns = {name: [sample[name] for sample in samples] for name in samples[0]}
    if "size" in columns:
        columns["input"] = padded(columns["input"])
    shapes = {tuple(pixels.shape) for pixels in columns.get("input", ())}
    if len(shapes) > 1:
        raise ValueError(
            f"These samples are of {len(shapes)} shapes, {' and '.join(map(str, sorted(shapes)[:2]))}, and make no batch. Take "
            f"one at a time (batch_size=1)."
        )
    return {name: torch.stack(column) if isinstance(column[0], Tensor) else column for name, column in columns.items()}


def padded(images: Sequence[Tensor]) -> list[Tensor]:
    """Images (C, h, w) filled up with black, at the right and below, to one size."""
    height, width = (max(image.shape[axis] for image in images) for axis in (1, 2))
    return [pad(image, (0, width - image.shape[2], 0, height - image.shape[1])) for image in images]


class DecodedDataset(SplitDataset):
    """A split whose samples are decoded one at a time, where they are asked for (in a loader's worker).

    A subclass says how one is read. One that cannot be read is missing from its batch, and named there in `bad`.

    Args:
        count: images or videos in the split.
        views: of each.
    """

    blocks: Sequence[int] | None = None
    """Where samples lie in archives: how many in each."""
    threads: int = 1
    """Samples that may be read at the same time in the main process. (A worker reads one at a time: there are others.)"""

    def __init__(self, count: int, views: int = 1) -> None:
        self.count = count
        self.views = views

    def name(self, number: int) -> str:
        """What a user knows an image or video by."""
        return f"sample {number}"

    def read(self, epoch: int, number: int, view: int) -> Mapping[str, Any]:
        """The fields of one sample, without the batch's axis. Raises `Unreadable`."""
        raise NotImplementedError

    def blank(self) -> Mapping[str, Any]:
        """Fields of the right shapes and types, for a batch of which nothing could be read."""
        raise NotImplementedError

    def stacked(self, samples: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """The fields of several samples as those of a batch."""
        return collate(samples)

    def __len__(self) -> int:
        return self.count * self.views

    def batch(self, draws: Sequence[Draw], /) -> Batch:
        found: list[Mapping[str, Any]] = []
        kept: list[tuple[int, int, int]] = []
        bad: dict[str, str] = {}
        wishes = [(epoch, *divmod(index, self.views)) for epoch, index in draws]
        for (epoch, number, view), outcome in zip(wishes, self._outcomes(wishes), strict=True):
            if isinstance(outcome, Unreadable):
                bad[str(outcome.path)] = outcome.reason
            else:
                found.append(outcome)
                kept.append((number, view, epoch))
        if not found and wishes:
            self._stand_in(wishes, found, kept, bad)
        now_reading(NOTHING)
        fields = {name: column[: len(found)] for name, column in self.stacked(found or [self.blank()]).items()}
        ids, views, epochs = torch.tensor(kept, dtype=torch.int64).reshape(-1, 3).unbind(1)
        return cast(Batch, {**fields, "id": ids, "view": views, "epoch": epochs, "bad": bad})

    def _stand_in(
        self,
        wishes: Sequence[tuple[int, int, int]],
        found: list[Mapping[str, Any]],
        kept: list[tuple[int, int, int]],
        bad: dict[str, str],
    ) -> None:
        """Read the next samples in place of a batch of which none could be read: where several processes train, each must
        take each step. (Two, as BatchNorm needs; a sample that is scored twice counts once.)"""
        epoch, first, view = wishes[0]
        for step in range(1, min(self.count, _STAND_INS)):
            wish = epoch, (first + step) % self.count, view
            outcome = attempt(lambda each: self.read(*each), wish)
            if isinstance(outcome, Unreadable):
                bad[str(outcome.path)] = outcome.reason
                continue
            found.append(outcome)
            kept.append((wish[1], view, epoch))
            if len(found) == min(2, len(wishes)):
                return

    def _outcomes(self, wishes: Sequence[tuple[int, int, int]]) -> Iterable[Mapping[str, Any] | Unreadable]:
        def outcome(wish: tuple[int, int, int]) -> Mapping[str, Any] | Unreadable:
            now_reading(wish[1])
            return attempt(lambda each: self.read(*each), wish)

        cores = torch.get_num_threads()  # of which a worker has one
        # One more than cores: between two calls of a decoder, each waits for the others to let go of the interpreter.
        threads = min(self.threads, len(wishes), cores + 1 if cores > 1 else 1)
        if threads < 2:
            return map(outcome, wishes)
        with ThreadPoolExecutor(threads) as pool:
            return list(pool.map(outcome, wishes))


_STAND_INS = 100
"""Samples that are tried in place of those of a batch that cannot be read."""


def labeled(pixels: Tensor, labels: Sequence[int] | None, number: int) -> dict[str, Tensor]:
    """The fields of a sample that is told by a label, or by none."""
    return {"input": pixels} if labels is None else {"input": pixels, "label": torch.tensor(labels[number])}


def attempt(check: Callable[[Item], Found], item: Item) -> Found | Unreadable:
    try:
        return check(item)
    except Unreadable as error:
        return error
