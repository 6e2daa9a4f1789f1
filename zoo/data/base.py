"""What every data set shares: the order of an epoch, the loaders, and the book of files that could not be read."""

import contextlib
import functools
import math
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import MappingProxyType
from typing import Any, ClassVar, Protocol, Self, TypedDict, TypeVar, Unpack, cast

import lightning
import torch
import torch.distributed
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, DistributedSampler

from zoo.batch import Batch, MaskBatch, channels_of
from zoo.common.chance import AUGMENT, SPREAD, permutation, uniform
from zoo.common.files import File
from zoo.common.files import Unreadable as Unreadable
from zoo.common.progress import beating
from zoo.common.signature import ConstructorSignature, check_names, filled, parameters
from zoo.data.loading.augment import GEOMETRIC, Augment, Chance, Fitted, Placed, sampled_classes

Draw = tuple[int, int]
"""(epoch, index): what a sampler yields. With the seed it determines every random choice made for the sample."""

SPLITS = ("train", "val", "test")
AXES = {3: "(C, H, W) images", 4: "(C, T, H, W) clips"}

Item = TypeVar("Item")
Found = TypeVar("Found")


class Samples(Protocol):
    """One split: it makes whole batches, so that sets in memory pay no price per sample."""

    views: int
    """Views (clips, crops) served of each image or video; sample `k` is view `k % views` of number `k // views`."""

    def __len__(self) -> int: ...

    def __getitems__(self, draws: Sequence[Draw], /) -> Batch: ...


class Decoded:
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
        return {name: torch.stack([sample[name] for sample in samples]) for name in samples[0]}

    def __len__(self) -> int:
        return self.count * self.views

    def __getitems__(self, draws: Sequence[Draw], /) -> Batch:
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
        _note(_NOTHING)
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
            outcome = _attempt(lambda each: self.read(*each), wish)
            if isinstance(outcome, Unreadable):
                bad[str(outcome.path)] = outcome.reason
                continue
            found.append(outcome)
            kept.append((wish[1], view, epoch))
            if len(found) == min(2, len(wishes)):
                return

    def _outcomes(self, wishes: Sequence[tuple[int, int, int]]) -> Iterable[Mapping[str, Any] | Unreadable]:
        def outcome(wish: tuple[int, int, int]) -> Mapping[str, Any] | Unreadable:
            _note(wish[1])
            return _attempt(lambda each: self.read(*each), wish)

        cores = torch.get_num_threads()  # of which a worker has one
        # One more than cores: between two calls of a decoder, each waits for the others to let go of the interpreter.
        threads = min(self.threads, len(wishes), cores + 1 if cores > 1 else 1)
        if threads < 2:
            return map(outcome, wishes)
        with ThreadPoolExecutor(threads) as pool:
            return list(pool.map(outcome, wishes))


_STAND_INS = 100
"""Samples that are tried in place of those of a batch that cannot be read."""
_NOTHING = -1
_reading: tuple[Tensor, int] | None = None
"""In a loader's worker: the table that it shares with the main process, and its own place there."""


def _note(number: int) -> None:
    """Tell the main process what this worker is reading, so that it can be named if it is never done."""
    if _reading is not None:
        _reading[0][_reading[1]] = number


def _begin(reading: Tensor, worker: int) -> None:
    """In a worker, first of all. A scheduler signals every process of a job, Ctrl-C every one of a terminal: what is to be done
    is the main process's to decide, which needs its workers until the step is over."""
    global _reading
    _reading = reading, worker
    if hasattr(signal, "sigwaitinfo"):  # not on Windows, nor on a Mac
        for number in (signal.SIGINT, signal.SIGUSR1):
            signal.signal(number, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()


@contextlib.contextmanager
def _held_back() -> Iterator[None]:
    """Signals wait meanwhile, and for ever in a process that is begun meanwhile: a worker that has not reached `_begin` yet
    would die of what is meant for the main process."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT, signal.SIGUSR1})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _end_with(parent: int) -> None:
    """Wait for the parent's own SIGTERM, which ends a worker that hangs."""
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != parent:
        pass
    os._exit(0)


_SHARED = "/dev/shm"
_MORE_ROOM = f"Set data.num_workers=0, or give {_SHARED} more room (of a container: docker run --shm-size=2g)."
_IN_FLIGHT = 4
"""Batches of a worker that wait in shared memory: two each of training and validation."""


def shared_room() -> int | None:
    """Bytes that are free where workers put their batches; None where there is no such place, nor a limit."""
    try:
        facts = os.statvfs(_SHARED)
    except (OSError, AttributeError):  # not on a Mac, nor on Windows
        return None
    return facts.f_bavail * facts.f_frsize


class Loader(DataLoader[Batch]):
    """A DataLoader that names the files over which its workers hang.

    Args:
        samples: a split.
        patience: seconds for a batch, with workers.
    """

    def __init__(self, samples: Samples, *, num_workers: int, patience: float, **arguments: Any) -> None:
        self.samples = samples
        self.patience = patience
        self.reading: Tensor = torch.full((max(1, num_workers),), _NOTHING)
        if num_workers:
            self.reading.share_memory_()  # type: ignore[no-untyped-call]
        super().__init__(
            cast(Dataset[Batch], samples),
            num_workers=num_workers,
            timeout=patience if num_workers else 0,
            worker_init_fn=functools.partial(_begin, self.reading),
            **arguments,
        )

    def __iter__(self) -> Any:
        with _held_back():
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
                    raise ValueError(f"The workers' batches do not fit into the shared memory. {_MORE_ROOM}") from None
                raise
            yield batch

    def _hanging(self) -> str:
        numbers = sorted({number for number in self.reading.tolist() if number != _NOTHING})
        name = getattr(self.samples, "name", str)
        files = ", ".join(name(number) for number in numbers) or "no file in particular"
        return (
            f"The workers made no batch in {self.patience:g} seconds; they are reading {files}. Remove what cannot be read, or "
            f"raise data.num_workers if the disk is slow."
        )


def labelled(pixels: Tensor, labels: Sequence[int] | None, number: int) -> dict[str, Tensor]:
    """The fields of a sample that is told by a label, or by none."""
    return {"input": pixels} if labels is None else {"input": pixels, "label": torch.tensor(labels[number])}


HANDFUL = 5
"""So many unreadable files end no run, whatever their share."""

MIXED = 4
"""Archives whose samples are mixed with one another: a reader needs these few at a time, and no more."""


class EpochSampler(DistributedSampler[Any]):
    """The order of an epoch as a function of (seed, epoch), dealt out to the ranks in turn.

    (It has nothing of torch's sampler but the name, by which Lightning knows that the ranks share the samples already.)

    Every rank gets the same number of samples, or strategies that talk in each step would wait for ever; the shortest
    ranks repeat samples from the start. In training these count twice, in evaluation they are dropped by their id.

    Args:
        blocks: where samples lie in archives, how many in each. A rank then takes a stretch of archives, one after another,
            and an epoch mixes the archives and the samples of `MIXED` at a time.
        groups: (length,): samples of one number are put into one batch, but for a few at the borders; None mixes all.
        batch: samples a step on each rank.
        spread: begin with so many samples, over all ranks, from every part of the split: an evaluation that is cut short would
            score the first classes of a folder only. None keeps the order.
        views: samples that belong together, and are taken together by `spread`.
    """

    def __init__(
        self,
        length: int,
        *,
        seed: int,
        shuffle: bool,
        rank: int = 0,
        world: int = 1,
        blocks: Sequence[int] | None = None,
        groups: Tensor | None = None,
        batch: int = 1,
        spread: int | None = None,
        views: int = 1,
    ) -> None:
        self.spread = spread
        self.views = views
        self.groups = groups
        self.batch = batch
        self.length = length
        self.blocks = blocks
        self.seed = seed
        self.shuffle = shuffle
        self.rank = rank
        self.world = world
        self.epoch = 0
        self._begun = (0, 0)

    def resume_command(self, epoch: int, samples: int) -> None:
        """Begin in this epoch, of which this rank has had so many samples."""
        self.epoch = epoch
        self._begun = (epoch, samples)

    def set_epoch(self, epoch: int) -> None:
        """Lightning calls this before each epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return math.ceil(self.length / self.world)

    def __iter__(self) -> Iterator[Any]:
        """Draws."""
        order = permutation(self.seed, self.epoch, self.length) if self.shuffle else torch.arange(self.length)
        if self.shuffle and self.groups is not None:
            order = self._grouped(order)
        if not self.shuffle and self.spread is not None:
            order = spread_order(self.length, self.spread, self.views)
        steps = torch.arange(len(self))
        if self.blocks is None or self.spread is not None:
            dealt = order[(steps * self.world + self.rank) % max(1, self.length)]
        else:
            if self.shuffle:
                order = self._by_block(order)
            dealt = order[(self.rank * len(self) + steps) % max(1, self.length)]
        epoch, had = self._begun
        return ((self.epoch, index) for index in dealt[had if epoch == self.epoch else 0 :].tolist())

    def _by_block(self, order: Tensor) -> Tensor:
        """An order of all samples, sorted by the turn of each one's group of archives: inside a group it stays."""
        assert self.blocks is not None
        turn = torch.empty(len(self.blocks), dtype=torch.int64)
        turn[permutation(self.seed, self.epoch, len(self.blocks))] = torch.arange(len(self.blocks)) // MIXED
        block = torch.repeat_interleave(torch.arange(len(self.blocks)), torch.tensor(self.blocks))
        return order[turn[block[order]].argsort(stable=True)]

    def _grouped(self, order: Tensor) -> Tensor:
        """Cut an order, sorted by group, into the steps of all ranks, and shuffle the steps; the last, short one stays last."""
        assert self.groups is not None
        order = order[self.groups[order].argsort(stable=True)]
        steps = torch.split(order, self.batch * self.world)
        whole = [step for step in steps if len(step) == self.batch * self.world]
        chosen = permutation(self.seed, self.epoch, len(whole)).tolist()
        return torch.cat([*(whole[at] for at in chosen), *steps[len(whole) :]])


def spread_order(length: int, count: int, views: int = 1) -> Tensor:
    """All samples, (length,), those first that stand for the whole split: of each of `count` equal stretches one.

    Which one of a stretch is drawn, the same each time: every k-th of a set whose classes take turns could be of one class.
    The `views` of an image or video stay together.
    """
    numbers = length // views
    parts = min(numbers, max(1, count // views))
    edges = torch.arange(parts + 1) * numbers // parts
    place = uniform(0, 0, torch.arange(parts), 1, SPREAD).squeeze(1)
    chosen = edges[:-1] + (place * (edges[1:] - edges[:-1])).long()
    others = torch.ones(numbers, dtype=torch.bool)
    others[chosen] = False
    order = torch.cat([chosen, others.nonzero().squeeze(1)])
    return (order[:, None] * views + torch.arange(views)).flatten()


def _as_is(batch: Any) -> Any:
    return batch


class Loading(TypedDict, total=False):
    """What the constructor of every data set takes; one hands them on as `**loading: Unpack[Loading]`."""

    shape: Sequence[int] | None
    batch_size: int
    num_workers: int | None
    seed: int
    max_bad: float
    augment: Mapping[str, Augment] | None


class DataModule(lightning.LightningDataModule):
    """A data set in three splits. A subclass fills in the facts and `load`.

    Args:
        shape: of one sample as served, (C, H, W) or (C, T, H, W). None: what the network reads that the Trainer brings the data
            together with, else the set's usual one.
        batch_size: samples a step on each device.
        num_workers: processes that read ahead; None is the data set's own choice.
        seed: of order, clip times and augmentation.
        max_bad: share of a split's files that may be unreadable before the run is refused; five may be in any case, unless it
            is 0.
        augment: what is done to training batches on the device, by name and in this order; null drops one.
    """

    layout: ClassVar[int]
    """How many axes a sample has: 3 for images, 4 for clips."""
    default_shape: ClassVar[tuple[int, ...]]
    """Of a sample, where neither the user nor a network says one."""
    suffixes: ClassVar[frozenset[str]]
    """Of the user's files that `files` can read."""
    targets: ClassVar[tuple[str, ...]] = ("label",)
    """What it can serve to learn from (keys of `batch.TARGETS`); a set of several takes the argument `target`."""
    full_size: ClassVar[bool] = False
    """Whether each image is scored at a size of its own, hence one at a time."""
    class_names: tuple[str, ...]
    """Known once `setup` ran (sets that name their classes in folders find them there)."""
    mean: tuple[float, ...]
    std: tuple[float, ...]
    """Of each channel over the training split, in 0..1."""
    patience: ClassVar[float] = 900
    """Seconds after which a worker that makes no batch is given up."""
    facts: ClassVar[tuple[str, ...]] = ()
    """Names of further attributes that tasks and models may read, as `${data.NAME}`."""
    protocol: str = ""
    """How a sample is scored at test, as it is written beside a figure; empty where there is one way only."""
    scored_at_end: str = ""
    """What the split that is scored at the end is called by the set's publisher, where it is no test split."""
    spoken: ClassVar[frozenset[str]] = frozenset()
    """Arguments of which `protocol` speaks. Any other that is set is written beside a figure too, unless it is `unscored`."""
    unscored: ClassVar[frozenset[str]] = frozenset(
        ["batch_size", "num_workers", "seed", "max_bad", "augment", "flip", "scale", "fraction", "download", "target"]
    )
    """Arguments on which no figure of an evaluation depends: they change the training alone, or what is refused."""
    landmarks: ClassVar[Mapping[str, float]] = MappingProxyType({})
    """Accuracies that mean something, by what they mean; drawn beside what a sweep's runs reached."""
    default_arguments: ClassVar[Loading] = Loading(shape=None, num_workers=None, seed=0, max_bad=0.01, augment=None)
    """What a shared argument is where nobody says it. A subclass adds its `batch_size`, and what is another in it."""
    __signature__ = ConstructorSignature("shape")
    _given: Mapping[str, Any]

    def __new__(cls, *args: Any, **arguments: Any) -> Self:
        """Keep what was said: the rest is asked of the task when there is one (see `suit`)."""
        check_names(cls, arguments)
        self = super().__new__(cls)
        self._given = arguments
        return self

    def __init__(self, **loading: Unpack[Loading]) -> None:
        super().__init__()
        said = filled(type(self), Loading, loading)
        shape = self.default_shape if said["shape"] is None else said["shape"]
        if len(shape) != self.layout:
            raise ValueError(
                f"{type(self).__name__} serves {AXES[self.layout]}, but the shape asked for is {tuple(shape)}. "
                f"Choose another data= or model=."
            )
        self.shape = tuple(shape)
        self.batch_size = said["batch_size"]
        self.num_workers = said["num_workers"]
        self.seed = said["seed"]
        self.max_bad = said["max_bad"]
        self.augment = tuple(each for each in (said["augment"] or {}).values() if each is not None)
        if self.batch_size < 1:
            raise ValueError(f"data.batch_size is {self.batch_size}; it must be at least 1.")
        self.bad: dict[str, str] = {}
        """File to reason: all that could not be read so far."""
        self.strict = True
        """Whether too many unreadable files are refused, or only booked."""
        self.left_out: dict[str, int] = {}
        """Of each split how many files its samples lack since their headers were checked."""
        self.withheld: dict[str, str] = {}
        """File to reason: what an official list holds and no split serves."""
        self.limited: dict[str, int] = {}
        """Of each split that an evaluation cut short, by the Trainer's limit: how many images or videos it takes."""
        self.notes: list[str] = []
        """Sentences about what was found in the files and would not be expected, to be said before training."""
        self.splits: dict[str, Samples] = {}
        self._begun = (0, 0)

    @property
    def num_classes(self) -> int:
        return len(self.class_names)

    def load(self) -> dict[str, Samples]:
        """Find the splits on disk, check every header, and set the facts. Raises ValueError in the user's words."""
        raise NotImplementedError

    def prepare(self) -> None:
        """Make, ahead of time, all that reading needs; the arguments of a subclass are options of `zoo.prepare`."""
        self.prepare_data()

    def files(self, paths: Sequence[File]) -> Samples:
        """The user's own files as test samples without labels; sample id k is `paths[k]`."""
        raise NotImplementedError

    def suit(self, task: Any) -> None:
        """Serve what a task's network reads, and what the task learns from, as far as the user has not said it. Raises
        ValueError where the network reads samples of another kind."""
        net = getattr(task, "net", None)
        wanted = getattr(net, "recipe", {}).get("arguments", {}).get("input_shape")
        channels = channels_of(net)
        if wanted is not None and len(wanted) != self.layout:
            raise ValueError(
                f"{type(self).__name__} serves {AXES[self.layout]}, but the network reads {AXES[len(wanted)]}. Choose other "
                f"data, or another network."
            )
        found: dict[str, Any] = {}
        if self._given.get("shape") is None:
            found["shape"] = wanted or (channels or self.shape[0], *self.shape[1:])
        if "target" in parameters(type(self)) and "target" not in self._given:
            found |= {"target": task.target} if getattr(task, "target", None) in self.targets else {}
        if any(tuple(value) != tuple(getattr(self, name)) for name, value in found.items()):
            trainer = self.trainer
            type(self).__init__(self, **{**self._given, **found})  # what follows from the shape is made anew
            self.trainer = trainer

    def setup(self, stage: str | None = None) -> None:
        if self.trainer is not None:
            self.suit(self.trainer.lightning_module)
        if self.splits:
            return
        self._check_augment()
        self.splits = self.load()
        self._check_room()
        for augment in self.augment:
            if isinstance(augment, Fitted):
                augment.fit(self._some_training_samples())

    def _check_room(self) -> None:
        """Read in the main process where the workers' batches have no room: they would hang, or die of a bus error. Raises
        ValueError where the user wished for workers."""
        workers, room = self.workers(), shared_room()
        ranks = self.trainer.num_devices if self.trainer else 1
        needed = ranks * workers * _IN_FLIGHT * self.batch_size * math.prod(self.shape)
        if room is None or room >= needed:
            return
        said = (
            f"{_SHARED} has {room / 1e6:,.0f} MB of free room, but {workers} workers put batches of about "
            f"{needed / 1e6:,.0f} MB there"
        )
        if self.num_workers is not None:
            raise ValueError(f"{said}. {_MORE_ROOM}")
        self.num_workers = 0
        self.notes.append(
            f"{said}: the main process reads instead. With more room (of a container: docker run --shm-size=2g) it has workers."
        )

    def _check_augment(self) -> None:
        """Refuse what would move an image's pixels away from what is known of them."""
        served = getattr(self, "target", self.targets[0])
        moving = [
            type(each).__name__
            for each in self.augment
            if isinstance(each, GEOMETRIC) and not (served == "label" or (served == "semantic" and isinstance(each, Placed)))
        ]
        if moving:
            raise ValueError(
                f"data.augment has {' and '.join(moving)}, which would move an image's pixels away from their labels. Use the "
                f"data set's own arguments (flip, scale), and ColorJitter or PcaShift here."
            )

    def _some_training_samples(self) -> Tensor:
        """Up to 1,024 training samples, evenly spaced: the same for every seed."""
        samples = self.splits["train"]
        index = torch.linspace(0, len(samples) - 1, min(1024, len(samples))).long().tolist()
        return samples.__getitems__([(0, at) for at in index])["input"]

    # Loaders

    def loader(self, samples: Samples, *, train: bool = False) -> DataLoader[Batch]:
        """Batches of a split, this rank's share of it."""
        trainer = self.trainer
        rank, world = (trainer.global_rank, trainer.world_size) if trainer else (0, 1)
        size = 1 if self.full_size and not train else self.batch_size
        sampler = EpochSampler(
            len(samples),
            seed=self.seed,
            shuffle=train,
            rank=rank,
            world=world,
            blocks=getattr(samples, "blocks", None),
            groups=getattr(samples, "groups", None),
            batch=self.batch_size,
            views=samples.views,
        )
        if train:
            sampler.resume_command(*self._begun)
        elif trainer and not trainer.overfit_batches:  # type: ignore[attr-defined]
            limit = trainer.limit_test_batches if trainer.testing else trainer.limit_val_batches
            batches = limit if isinstance(limit, int) else int(math.ceil(len(sampler) / size) * limit)
            if batches * size < len(sampler):
                sampler.spread = batches * size * world
                self.limited["test" if trainer.testing else "val"] = max(1, sampler.spread // samples.views)
        workers = self.workers()
        return Loader(
            samples,
            patience=self.patience,
            batch_size=size,
            sampler=sampler,
            # BatchNorm cannot learn from a last batch of one; the epoch's order decides who is left out.
            drop_last=train and len(sampler) >= self.batch_size,
            num_workers=workers,
            persistent_workers=train and workers > 0,
            collate_fn=_as_is,  # `__getitems__` has made the batch
            pin_memory=torch.cuda.is_available(),
            # The loader draws a number for its workers; from its own generator, so that the global one stays untouched.
            generator=torch.Generator().manual_seed(self.seed),
        )

    def training_batches(self, world: int) -> int:
        """Of an epoch, on each of so many ranks; a last, short one is left out (see `loader`)."""
        return max(1, math.ceil(len(self.splits["train"]) / world) // self.batch_size)

    def workers(self) -> int:
        """Processes that read ahead."""
        return self.num_workers if self.num_workers is not None else self.default_workers()

    def default_workers(self) -> int:
        """For files that must be decoded: half of the cores, eight at most."""
        return min(8, (os.cpu_count() or 1) // 2)

    def train_dataloader(self) -> DataLoader[Batch]:
        return self.loader(self.splits["train"], train=True)

    def val_dataloader(self) -> DataLoader[Batch]:
        return self.loader(self.splits["val"])

    def test_dataloader(self) -> DataLoader[Batch]:
        return self.loader(self.splits["test"])

    def predict_dataloader(self) -> DataLoader[Batch]:
        return self.test_dataloader()

    # Where training stands: Lightning keeps it in the checkpoint, and brings it back before it asks for the loader

    def state_dict(self) -> dict[str, int]:
        """The epoch that is under way, and how many of its samples this rank has learned from."""
        assert self.trainer is not None
        loop: Any = self.trainer.fit_loop
        epoch, done = loop.epoch_progress.current, loop.epoch_loop.batch_progress.current.completed
        within = epoch.ready > epoch.processed
        return {"epoch": epoch.processed, "samples": done * self.batch_size if within else 0}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        self._begun = (int(state_dict["epoch"]), int(state_dict["samples"]))

    def gather_bad(self) -> None:
        """Put every rank's unreadable files in every rank's book: a file is decoded by one of them only."""
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            books: list[Any] = [None] * torch.distributed.get_world_size()
            torch.distributed.all_gather_object(books, self.bad)
            for book in books:
                self.bad.update(book)

    # Between loader and task

    def on_before_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """Keep the book of files that failed to decode; too many end the run."""
        if isinstance(batch, dict):  # a loader of the user's own in a subclass may serve anything
            self.bad.update(batch.pop("bad", {}))
        if self.splits:
            self._check_share(self.bad, sum(len(samples) // samples.views for samples in self.splits.values()))
        return batch

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """Augment training batches where they lie: on the device, all samples at once."""
        if self.augment and self.trainer is not None and self.trainer.training:
            for number, augment in enumerate(self.augment):
                chance = Chance(self.seed, batch["epoch"], batch["id"], AUGMENT + number)
                if isinstance(augment, Placed) and "mask" in batch:
                    masked = cast(MaskBatch, batch)
                    masked["mask"] = sampled_classes(masked["mask"], augment.theta(batch["input"], chance))
                batch["input"] = augment(batch["input"], chance)
        return batch

    # Files

    def readable(self, items: Sequence[Item], check: Callable[[Item], Found], split: str) -> Iterable[tuple[int, Found]]:
        """Check every file of a split, or what stands for it; (position, what was found) of the good ones; the bad ones are
        booked, and too many refused, if the data set is strict."""
        with ThreadPoolExecutor(min(16, 2 * (os.cpu_count() or 1))) as pool:
            outcomes: list[Found | Unreadable] = []
            try:
                with beating(f"looking at the files of {split}", lambda: f"{len(outcomes):,} of {len(items):,}"):
                    outcomes.extend(pool.map(lambda item: _attempt(check, item), items))
            except BaseException:  # a signal: what has not begun is not begun
                pool.shutdown(wait=False, cancel_futures=True)
                raise
        failures = {str(outcome.path): outcome.reason for outcome in outcomes if isinstance(outcome, Unreadable)}
        self.bad.update(failures)
        self._check_share(failures, len(items))
        self.left_out[split] = len(failures)
        return [(at, outcome) for at, outcome in enumerate(outcomes) if not isinstance(outcome, Unreadable)]

    def _check_share(self, bad: Mapping[str, str], total: int) -> None:
        """Refuse more unreadable files of so many than are allowed. A handful is left out of any set, but not all of one."""
        allowed = max(HANDFUL, self.max_bad * total) if self.max_bad else 0
        if self.strict and (len(bad) > allowed or len(bad) == total > 0):
            raise ValueError(too_many_bad(bad, total, self.max_bad))


def _attempt(check: Callable[[Item], Found], item: Item) -> Found | Unreadable:
    try:
        return check(item)
    except Unreadable as error:
        return error


def too_many_bad(bad: Mapping[str, str], total: int, allowed: float) -> str:
    path, reason = next(iter(bad.items()))
    if len(bad) == total:
        return f"Not one of {total} files can be read; the first is {path} ({reason}). Repair or replace them."
    return (
        f"{len(bad)} of {total} files cannot be read, more than data.max_bad={allowed:g} allows; the first is {path} "
        f"({reason}). Repair or remove them, or raise data.max_bad."
    )
