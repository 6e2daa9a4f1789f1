"""How Lightning is served by a data module: its loaders, and what is done to a batch on its way to the task."""

import math
import os
from typing import Any, ClassVar, cast

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from zoo.batch import Batch, MaskBatch
from zoo.common.chance import AUGMENT
from zoo.data.loading.augment import Augment, Chance, Fitted, Placed, check_unmoved, sampled_classes
from zoo.data.loading.dataset import SplitDataset
from zoo.data.loading.loader import IN_FLIGHT, MORE_ROOM, Loader, as_is, no_room
from zoo.data.loading.sampler import EpochSampler
from zoo.data.loading.skipping import Skipping
from zoo.data.loading.standing import Standing


class Serving(Skipping, Standing):
    """What all data modules do."""

    shape: tuple[int, ...]
    num_workers: int | None
    seed: int
    augment: tuple[Augment, ...]
    targets: ClassVar[tuple[str, ...]]
    full_size: ClassVar[bool]
    patience: ClassVar[float]

    def __init__(self) -> None:
        super().__init__()
        self.limited: dict[str, int] = {}
        """Split to the number of images or videos that an evaluation takes, where the Trainer's limit cuts it short."""
        self.notes: list[str] = []
        """Sentences about what was found in the files and would not be expected, to be said before training."""
        self.splits: dict[str, SplitDataset] = {}

    def load(self) -> dict[str, SplitDataset]:
        raise NotImplementedError

    def suit(self, task: Any) -> None:
        raise NotImplementedError

    def setup(self, stage: str | None = None) -> None:
        if self.trainer is not None:
            self.suit(self.trainer.lightning_module)
        if self.splits:
            return
        check_unmoved(self.augment, getattr(self, "target", self.targets[0]))
        self.splits = self.load()
        self._check_room()
        for augment in self.augment:
            if isinstance(augment, Fitted):
                augment.fit(self._some_training_samples())

    def _check_room(self) -> None:
        """Read in the main process where the workers' batches have no room: they would hang, or die of a bus error. Raises
        ValueError where the user wished for workers."""
        workers = self.workers()
        ranks = self.trainer.num_devices if self.trainer else 1
        said = no_room(workers, ranks * workers * IN_FLIGHT * self.batch_size * math.prod(self.shape))
        if said is None:
            return
        if self.num_workers is not None:
            raise ValueError(f"{said}. {MORE_ROOM}")
        self.num_workers = 0
        self.notes.append(
            f"{said}: the main process reads instead. With more room (of a container: docker run --shm-size=2g) it has workers."
        )

    def _some_training_samples(self) -> Tensor:
        """Up to 1,024 training samples, evenly spaced: the same for every seed."""
        samples = self.splits["train"]
        index = torch.linspace(0, len(samples) - 1, min(1024, len(samples))).long().tolist()
        pixels: Tensor = samples.__getitems__([(0, at) for at in index])["input"]
        return pixels

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
