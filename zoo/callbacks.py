"""Callbacks of a run: the progress bar, and the pictures at the end."""

import contextlib
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

from zoo import report

if TYPE_CHECKING:
    from zoo.data.base import DataModule, Samples
    from zoo.tasks.base import Task


class Progress(RichProgressBar):
    """Lightning's Rich bar, with images or clips a second over all devices since the epoch began."""

    def __init__(self) -> None:
        super().__init__(leave=False)
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

    def get_metrics(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule
    ) -> dict[str, int | str | float | dict[str, float]]:
        metrics = super().get_metrics(trainer, pl_module)
        metrics.pop("v_num", None)
        if self._seen:
            metrics[f"{self._unit}/s"] = f"{self._seen / (time.perf_counter() - self._began):.1f}"
        return metrics


class Peek(Sequence[Any]):
    """Samples of a split, each as a batch of one on the task's device."""

    def __init__(self, samples: "Samples", device: torch.device) -> None:
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
        report.draw_curves(folder)
        task, data = cast("Task", pl_module), cast("DataModule", trainer.datamodule)  # type: ignore[attr-defined]
        report.draw_filters(task.net, folder)
        with evaluating(task):
            task.draw(Peek(data.splits["val"], task.device), folder)


@contextlib.contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """In evaluation mode and without gradients; the mode of before comes back."""
    training = module.training
    module.eval()
    try:
        with torch.inference_mode():
            yield
    finally:
        module.train(training)
