"""The loader, which names the files over which its workers hang, and the room for their batches."""

import functools
import os
from typing import Any, cast

import torch
import torch.distributed
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from zoo.batch import Batch
from zoo.common.files import Unreadable as Unreadable
from zoo.data.loading.dataset import SplitDataset
from zoo.data.loading.workers import NOTHING, begin, held_back

SHARED = "/dev/shm"
MORE_ROOM = f"Set data.num_workers=0, or give {SHARED} more room (of a container: docker run --shm-size=2g)."
IN_FLIGHT = 4
"""Batches of a worker that wait in shared memory: two each of training and validation."""


def shared_room() -> int | None:
    """Bytes that are free where workers put their batches; None where there is no such place, nor a limit."""
    try:
        facts = os.statvfs(SHARED)
    except (OSError, AttributeError):  # not on a Mac, nor on Windows
        return None
    return facts.f_bavail * facts.f_frsize


def no_room(workers: int, needed: int) -> str | None:
    """What is said where the workers' batches, so many bytes, find no room; None where they do."""
    room = shared_room()
    if room is None or room >= needed:
        return None
    return (
        f"{SHARED} has {room / 1e6:,.0f} MB of free room, but {workers} workers put batches of about "
        f"{needed / 1e6:,.0f} MB there"
    )


class Loader(DataLoader[Batch]):
    """A DataLoader that names the files over which its workers hang.

    Args:
        samples: a split.
        patience: seconds for a batch, with workers.
    """

    def __init__(self, samples: SplitDataset, *, num_workers: int, patience: float, **arguments: Any) -> None:
        self.samples = samples
        self.patience = patience
        self.reading: Tensor = torch.full((max(1, num_workers),), NOTHING)
        if num_workers:
            self.reading.share_memory_()  # type: ignore[no-untyped-call]
        super().__init__(
            cast(Dataset[Batch], samples),
            num_workers=num_workers,
            timeout=patience if num_workers else 0,
            worker_init_fn=functools.partial(begin, self.reading),
            **arguments,
        )

    def __iter__(self) -> Any:
        with held_back():
            iterator = super().__iter__()
        while True:
            try:
                batch = next(iterator)
            except StopIteration:
                return
            except RuntimeError as error:
                if "timed out" in str(error):
                    raise ValueError(self._hanging()) from None
                if "shared memory" in str(error):
                    raise ValueError(f"The workers' batches do not fit into the shared memory. {MORE_ROOM}") from None
                raise
            yield batch

    def _hanging(self) -> str:
        numbers = sorted({number for number in self.reading.tolist() if number != NOTHING})
        name = getattr(self.samples, "name", str)
        files = ", ".join(name(number) for number in numbers) or "no file in particular"
        return (
            f"The workers made no batch in {self.patience:g} seconds; they are reading {files}. Remove what cannot be read, or "
            f"raise data.num_workers if the disk is slow."
        )


def as_is(batch: Any) -> Any:
    return batch
