"""Callbacks of a run: the progress bar, and the pictures at the end."""

import contextlib
import math
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import lightning
import torch
from lightning.fabric.utilities.apply_func import move_data_to_device
from lightning.pytorch.callbacks import Callback, RichProgressBar
from lightning.pytorch.utilities import rank_zero_only
from torch import nn

from zoo.common import numbers, progress
from zoo.run import pictures, report
from zoo.run.size import PAPER

if TYPE_CHECKING:
    from zoo.data.base import DataModule
    from zoo.data.loading.dataset import SplitDataset
    from zoo.tasks.base import Task


class Progress(RichProgressBar):
    """Lightning's Rich bar, with images or clips a second over all devices since the epoch began."""

    def __init__(self) -> None:
        super().__init__(leave=False)
        if not progress.on_terminal():
            self.disable()  # it would leave its last state in the file; `Lines` speak there
        self._began = 0.0
        self._seen = 0

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        super().on_train_start(trainer, pl_module)
        if trainer.fit_loop.restarted_mid_epoch:  # then no epoch starts
            self.on_train_epoch_start(trainer, pl_module)

    def on_train_epoch_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        super().on_train_epoch_start(trainer, pl_module)
        self._began, self._seen = time.perf_counter(), 0

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self._seen += len(batch["id"]) * trainer.world_size
        self._unit = report.SAMPLES[batch["input"].dim() - 1]
        super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)

    def _get_train_description(self, current_epoch: int) -> str:
        return progress.epoch_of(self.trainer).ljust(len(self.validation_description))

    def get_metrics(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule
    ) -> dict[str, int | str | float | dict[str, float]]:
        metrics = super().get_metrics(trainer, pl_module)
        metrics.pop("v_num", None)
        if self._seen:
            metrics[f"{self._unit}/s"] = f"{self._seen / (time.perf_counter() - self._began):.1f}"
        return metrics


class Lines(Callback):
    """Print a line an epoch with its metrics, and one a minute within an epoch, where no terminal shows the bar.

    Args:
        title: what a line begins with.
        epochs: whether an epoch gets a line.
    """

    def __init__(self, title: str = "", epochs: bool = True) -> None:
        self.title = f"{title}, " if title else ""
        self.epochs = epochs
        self._said = self._began = time.monotonic()

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self._said = self._began = time.monotonic()

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self._beat(trainer, f"batch {batch_idx + 1} of {trainer.num_training_batches}, step {trainer.global_step}")

    def on_validation_batch_end(self, trainer: lightning.Trainer, *_: Any) -> None:
        self._beat(trainer, "validation")

    def on_test_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self._said = self._began = time.monotonic()

    def on_test_batch_end(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        self._beat(trainer, f"batch {batch_idx + 1}", "test")

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        if self.epochs:
            main = ("train/loss", f"val/{getattr(pl_module, 'metric', 'loss')}")
            found = {name: float(trainer.callback_metrics[name]) for name in main if name in trainer.callback_metrics}
            self._say(trainer, ", ".join(f"{name} {numbers.figure(value)}" for name, value in found.items()))

    def _beat(self, trainer: lightning.Trainer, what: str, where: str = "") -> None:
        if time.monotonic() - self._said >= progress.EVERY:
            self._say(trainer, what, where)

    def _say(self, trainer: lightning.Trainer, what: str, where: str = "") -> None:
        self._said = time.monotonic()
        if trainer.is_global_zero and not progress.on_terminal():
            begin = f"{self.title}{where or progress.epoch_of(trainer)}"
            progress.log.info("%s: %s, %.1f min", begin, what, (self._said - self._began) / 60)


class Pace(Callback):
    """After the first steps, say how long the run will take.

    Args:
        size: of the network; the paper's may be too much for a processor, which is said where it is.
    """

    STEPS, SECONDS, SLOW = 5, 20.0, 5.0
    """Steps that are measured, unless so many seconds have passed before; and seconds of a step that is slow."""

    def __init__(self, size: str) -> None:
        self.size = size
        self._done: bool = False
        self._steps = 0
        self._began: float | None = None

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        now = time.monotonic()
        if self._began is None:  # the first batch warms up
            self._began = now
            return
        self._steps += 1
        if self._done or (self._steps < self.STEPS and now - self._began < self.SECONDS):
            return
        self._done = True
        total = trainer.estimated_stepping_batches * trainer.accumulate_grad_batches
        if trainer.is_global_zero and math.isfinite(total):
            self._say(trainer, (now - self._began) / self._steps, int(total))

    def _say(self, trainer: lightning.Trainer, step: float, batches: int) -> None:
        left = batches - trainer.fit_loop.epoch_loop.total_batch_idx - 1
        how = f"{numbers.duration(step)} a batch, of the first {self._steps + 1}"
        more = numbers.duration(step * max(0, left))
        progress.log.info("training takes about %s more (%s), validation not counted", more, how)
        if self.size == PAPER and step > self.SLOW and trainer.strategy.root_device.type == "cpu":
            epoch = numbers.duration(step * int(trainer.num_training_batches))
            progress.log.info(
                "An epoch takes about %s on this processor. size=small is a smaller network on smaller samples.", epoch
            )


class Peek(Sequence[Any]):
    """Samples of a split, each as a batch of one on the task's device."""

    def __init__(self, samples: "SplitDataset", device: torch.device) -> None:
        self.samples = samples
        self.device = device

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: Any) -> Any:
        if not 0 <= index < len(self):
            raise IndexError(index)
        return move_data_to_device(self.samples.__getitems__([(0, index)]), self.device)


class Pictures(Callback):
    """Draw the curves, the first layer's filters and the task's own pictures into the run folder when training ends."""

    @rank_zero_only
    def on_fit_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        for logger in trainer.loggers:
            logger.save()
        folder = Path(trainer.default_root_dir)
        folder.mkdir(parents=True, exist_ok=True)
        pictures.draw_curves(folder)
        task, data = cast("Task", pl_module), cast("DataModule", trainer.datamodule)  # type: ignore[attr-defined]
        pictures.draw_filters(task.net, folder)
        with evaluating(task):
            task.draw(Peek(data.splits["val"], task.device), folder)


@contextlib.contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Evaluation mode without gradients; the previous mode is restored."""
    training = module.training
    module.eval()
    try:
        with torch.inference_mode():
            yield
    finally:
        module.train(training)
