"""Callbacks of a run: the progress bar, the pictures at the end, and what happens on Ctrl-C."""

import shlex
import sys
import time
from pathlib import Path
from typing import Any

import lightning
from lightning.pytorch.callbacks import Callback, RichProgressBar
from lightning.pytorch.utilities import rank_zero_only

from zoo import report
from zoo.config import quoted


class Progress(RichProgressBar):
    """Lightning's Rich bar, with images or clips a second over all devices since the epoch began."""

    def __init__(self) -> None:
        super().__init__(leave=False)
        self._began = 0.0
        self._seen = 0

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


class Pictures(Callback):
    """Draw the curves and the first layer's filters into the run folder when training ends."""

    @rank_zero_only
    def on_fit_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        for logger in trainer.loggers:
            logger.save()
        folder = Path(trainer.default_root_dir)
        folder.mkdir(parents=True, exist_ok=True)
        report.draw_curves(folder)
        net: Any = pl_module.net
        report.draw_filters(net, folder)


class SaveOnInterrupt(Callback):
    """On Ctrl-C save the run as it stands and say how to go on with it."""

    def on_exception(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, exception: BaseException) -> None:
        if not isinstance(exception, KeyboardInterrupt) or not trainer.training:
            return
        path = Path(trainer.default_root_dir) / "checkpoints" / "interrupted.ckpt"
        trainer.save_checkpoint(path)
        if trainer.is_global_zero:
            earlier = [argument for argument in sys.argv[1:] if not argument.startswith("resume=")]
            command = shlex.join(["python", "-m", "zoo.train", *earlier, f"resume={quoted(str(path))}"])
            print(f"\nInterrupted at step {trainer.global_step}; the run is saved. Go on with it by\n{command}")
