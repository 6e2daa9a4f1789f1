"""The Trainer of a run, and which of its checkpoints is scored."""

from typing import Any

import lightning
import torch
from hydra.utils import instantiate
from lightning.pytorch.callbacks import WeightAveraging
from lightning.pytorch.plugins.environments import SLURMEnvironment  # type: ignore[attr-defined]
from omegaconf import DictConfig
from torch import nn

from zoo.common import bfloat16
from zoo.run.build import make
from zoo.run.callbacks import Pace
from zoo.run.check import speaking_of
from zoo.run.compose import overrides_of
from zoo.run.freeze import Freeze
from zoo.run.resume import Savepoints, WholeCheckpoints, without_handlers


def build_trainer(config: DictConfig, **changes: Any) -> lightning.Trainer:
    """Lightning's Trainer as configured; `precision` as of `bfloat16.precision`."""
    if config.trainer.max_steps > 0 and not any(each.startswith("trainer.max_epochs=") for each in overrides_of(config)):
        config.trainer.max_epochs = -1  # who asks for steps gets them, however few make up an epoch
    on_gpu = config.trainer.accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available()
    config.trainer.precision = bfloat16.precision(str(config.trainer.precision or "32-true"), on_gpu)
    if config.trainer.accelerator in ("gpu", "cuda") and not torch.cuda.is_available():
        raise ValueError(
            f"trainer.accelerator is {config.trainer.accelerator}, but torch sees no GPU here. Set "
            "trainer.accelerator=auto, which takes the processor."
        )
    if config.trainer.sync_batchnorm and (config.trainer.accelerator == "cpu" or not torch.cuda.is_available()):
        raise ValueError("trainer.sync_batchnorm needs GPUs: torch synchronizes BatchNorm's statistics on no other device.")
    # Lightning's own requeueing saves in the midst of a step; `resume.Savepoints` waits for its end.
    cluster = [SLURMEnvironment(auto_requeue=False)] if SLURMEnvironment.detect() else []
    with speaking_of(config, "logger"):
        loggers = [_logger(str(name), node) for name, node in config.logger.items() if node]
    callbacks = [node for node in config.callbacks.values() if node]
    if not loggers:
        callbacks = [node for node in callbacks if not node._target_.endswith(".LearningRateMonitor")]  # it could write nowhere
    with speaking_of(config, "callbacks"):
        made = [instantiate(node, _convert_="all") for node in callbacks]
    made += [Pace(config.size), *([Freeze(config.freeze, config.unfreeze)] if config.freeze else [])]
    parts = {"plugins": [WholeCheckpoints(), *cluster], "callbacks": made, "logger": loggers or False}
    with speaking_of(config, "trainer"):
        return without_handlers(make(config.trainer, "trainer")(**{**parts, **changes}))


def _logger(name: str, node: DictConfig) -> Any:
    """Raises ValueError where its package is not installed."""
    try:
        return instantiate(node, _convert_="all")
    except Exception as error:
        if isinstance(cause := error.__cause__ or error, ModuleNotFoundError):
            said = str(cause).partition(" HINT")[0].rstrip(".")
            raise ValueError(
                f"logger={name} needs a package that is not installed ({said}). Install it: pip install {name}."
            ) from None
        raise


def frozen(trainer: lightning.Trainer, net: nn.Module) -> Freeze | None:
    """What holds parts of the network, if anything does; from now on it does."""
    found = next((each for each in trainer.callbacks if isinstance(each, Freeze)), None)  # type: ignore[attr-defined]
    if found:
        found.hold(net)
    return found


def scale_rate(config: DictConfig, world_size: int) -> dict[str, Any]:
    """Scale the learning rate, once, by the samples of a step over all devices and the recipe's reference batch; these numbers,
    for the checkpoint.

    (The linear scaling rule: Goyal et al. 2017, section 2.1.)
    """
    effective = int(config.data.batch_size) * world_size * int(config.trainer.accumulate_grad_batches)
    if config.reference_batch is not None:
        if config.reference_batch < 1:
            raise ValueError(f"reference_batch is {config.reference_batch}; it is a number of samples, at least 1.")
        config.optimizer.lr = config.optimizer.lr * effective / config.reference_batch
    return {"batch": effective, "reference_batch": config.reference_batch, "lr": config.optimizer.lr}


def chosen_checkpoint(trainer: lightning.Trainer) -> str | None:
    """The best one by validation; without any validation the last, as `zoo.evaluate` chooses; None if there is neither."""
    best = getattr(trainer.checkpoint_callback, "best_model_path", None)
    if best or trainer.fast_dev_run:  # type: ignore[attr-defined]
        return best or None
    saved = [callback.path for callback in trainer.callbacks if isinstance(callback, Savepoints)]  # type: ignore[attr-defined]
    return str(saved[0]) if saved and saved[0].is_file() else None


def forget_averages(trainer: lightning.Trainer) -> None:
    """Remove the averaging callback after training: a checkpoint holds the weights that were validated, averaged or not.

    Lightning's `WeightAveraging` would put the raw weights in their place when a checkpoint is loaded, to go on with them, and
    the figure would be of weights that nobody chose and no `zoo.evaluate` sees.
    """
    callbacks: list[lightning.Callback] = trainer.callbacks  # type: ignore[attr-defined]
    callbacks[:] = [callback for callback in callbacks if not isinstance(callback, WeightAveraging)]


def end_processes() -> None:
    """Let the processes of a run part."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
