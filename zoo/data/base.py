"""What every data set shares: the order of an epoch, the loaders, and the book of files that could not be read."""

import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import MappingProxyType
from typing import Any, ClassVar, Self, TypedDict, Unpack, cast

import lightning
import torch
import torch.distributed
from torch import Tensor
from torch.utils.data import DataLoader

from zoo.batch import Batch, MaskBatch, channels_of
from zoo.common.chance import AUGMENT
from zoo.common.files import File
from zoo.common.files import Unreadable as Unreadable
from zoo.common.progress import beating
from zoo.common.renaming import Renamed
from zoo.common.signature import ConstructorSignature, check_names, filled, parameters
from zoo.data.loading.augment import GEOMETRIC, Augment, Chance, Fitted, Placed, sampled_classes
from zoo.data.loading.dataset import Found, Item, SplitDataset, attempt
from zoo.data.loading.loader import IN_FLIGHT, MORE_ROOM, SHARED, Loader, as_is, shared_room
from zoo.data.loading.sampler import EpochSampler

SPLITS = ("train", "val", "test")
AXES = {3: "(C, H, W) images", 4: "(C, T, H, W) clips"}

HANDFUL = 5
"""So many unreadable files end no run, whatever their share."""


class Loading(TypedDict, total=False):
    """What the constructor of every data set takes; one hands them on as `**loading: Unpack[Loading]`."""

    shape: Sequence[int] | None
    batch_size: int
    num_workers: int | None
    seed: int
    max_bad: float
    augment: Mapping[str, Augment] | None


class DataModule(Renamed, lightning.LightningDataModule):
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
    """The shape of a sample, where neither the user nor a network says one."""
    suffixes: ClassVar[frozenset[str]]
    """The suffixes of the user's files that `files` can read."""
    targets: ClassVar[tuple[str, ...]] = ("label",)
    """What it can serve to learn from (keys of `batch.TARGETS`); a set of several takes the argument `target`."""
    full_size: ClassVar[bool] = False
    """Whether each image is scored at a size of its own, hence one at a time."""
    class_names: tuple[str, ...]
    """Known once `setup` ran (sets that name their classes in folders find them there)."""
    mean: tuple[float, ...]
    std: tuple[float, ...]
    """The mean and the deviation of each channel over the training split, in 0..1."""
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
    """What a shared argument is where nobody says it. A subclass adds its `batch_size`, and changes others."""
    __signature__ = ConstructorSignature("shape")
    old_names = MappingProxyType(
        {"bad": "skipped", "left_out": "skipped_counts", "withheld": "skipped_groups", "gather_bad": "gather_skipped"}
    )
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
        self.skipped: dict[str, str] = {}
        """File to reason: all that could not be read so far, and are skipped."""
        self.strict = True
        """Whether too many unreadable files are refused, or only booked."""
        self.skipped_counts: dict[str, int] = {}
        """Split to the number of its files that are skipped since their headers were checked."""
        self.skipped_groups: dict[str, str] = {}
        """File to reason: what an official list holds and no split serves."""
        self.limited: dict[str, int] = {}
        """Split to the number of images or videos that an evaluation takes, where the Trainer's limit cuts it short."""
        self.notes: list[str] = []
        """Sentences about what was found in the files and would not be expected, to be said before training."""
        self.splits: dict[str, SplitDataset] = {}
        self._begun = (0, 0)

    @property
    def num_classes(self) -> int:
        return len(self.class_names)

    def load(self) -> dict[str, SplitDataset]:
        """Find the splits on disk, check every header, and set the facts. Raises ValueError in the user's words."""
        raise NotImplementedError

    def prepare(self) -> None:
        """Make, ahead of time, all that reading needs; the arguments of a subclass are options of `zoo.prepare`."""
        self.prepare_data()

    def files(self, paths: Sequence[File]) -> SplitDataset:
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
        needed = ranks * workers * IN_FLIGHT * self.batch_size * math.prod(self.shape)
        if room is None or room >= needed:
            return
        said = (
            f"{SHARED} has {room / 1e6:,.0f} MB of free room, but {workers} workers put batches of about "
            f"{needed / 1e6:,.0f} MB there"
        )
        if self.num_workers is not None:
            raise ValueError(f"{said}. {MORE_ROOM}")
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
        pixels: Tensor = samples.__getitems__([(0, at) for at in index])["input"]
        return pixels

    # Loaders

    def loader(self, samples: SplitDataset, *, train: bool = False) -> DataLoader[Batch]:
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
            sampler.resume_at(*self._begun)
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
            # BatchNorm cannot learn from a last batch of one; the epoch's order decides which are dropped.
            drop_last=train and len(sampler) >= self.batch_size,
            num_workers=workers,
            persistent_workers=train and workers > 0,
            collate_fn=as_is,  # `__getitems__` has made the batch
            pin_memory=torch.cuda.is_available(),
            # The loader draws a number for its workers; from its own generator, so that the global one stays untouched.
            generator=torch.Generator().manual_seed(self.seed),
        )

    def training_batches(self, world: int) -> int:
        """The batches of an epoch on each of so many ranks; `loader` drops a last, short one."""
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

    def gather_skipped(self) -> None:
        """Put every rank's unreadable files in every rank's book: a file is decoded by one of them only."""
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            books: list[Any] = [None] * torch.distributed.get_world_size()
            torch.distributed.all_gather_object(books, self.skipped)
            for book in books:
                self.skipped.update(book)

    # Between loader and task

    def on_before_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """Keep the book of files that failed to decode; too many end the run."""
        if isinstance(batch, dict):  # a loader of the user's own in a subclass may serve anything
            self.skipped.update(batch.pop("bad", {}))
        if self.splits:
            self._check_share(self.skipped, sum(len(samples) // samples.views for samples in self.splits.values()))
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
                    outcomes.extend(pool.map(lambda item: attempt(check, item), items))
            except BaseException:  # a signal: what has not begun is not begun
                pool.shutdown(wait=False, cancel_futures=True)
                raise
        failures = {str(outcome.path): outcome.reason for outcome in outcomes if isinstance(outcome, Unreadable)}
        self.skipped.update(failures)
        self._check_share(failures, len(items))
        self.skipped_counts[split] = len(failures)
        return [(at, outcome) for at, outcome in enumerate(outcomes) if not isinstance(outcome, Unreadable)]

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
