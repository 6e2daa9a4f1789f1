"""The length of a run that the user did not set: the recipe's epochs, fitted to the amount of data.

A recipe counts in epochs of the set that it was made for. An epoch of fifteen clips is one step, and one of ten million is more
than the paper took in all. So on any set a run takes `least_steps` at least, and sees `most_samples` at most.
"""

import math
from typing import TYPE_CHECKING

from zoo.run.compose import choices_of, overrides_of
from zoo.run.report import steps_of

if TYPE_CHECKING:
    import lightning
    from omegaconf import DictConfig

    from zoo.data.base import DataModule

_VALIDATIONS = 10
"""Times that a lengthened run validates at least; after each of hundreds of tiny epochs that would be most of its time."""
SAID = ("max_epochs", "max_steps", "max_time", "limit_train_batches", "overfit_batches", "fast_dev_run")
"""Settings of the trainer by which a user says how long a run is."""


def is_said(config: "DictConfig") -> bool:
    """Whether the user set the length of the run, by a setting or by an experiment, which has a length of its own."""
    said = {each.lstrip("+").partition("=")[0] for each in overrides_of(config)}
    return bool(said & {f"trainer.{name}" for name in SAID}) or choices_of(config).get("experiment") is not None


def fit(trainer: "lightning.Trainer", data: "DataModule", config: "DictConfig") -> None:
    """Set the trainer's number of epochs, and how often it validates, where the user set no length; and let it log once at
    least."""
    _lengthen(trainer, data, config)
    steps = [each for each in steps_of(trainer, data) if each]
    trainer.log_every_n_steps = max(1, min(trainer.log_every_n_steps, *steps))  # type: ignore[attr-defined]


def _lengthen(trainer: "lightning.Trainer", data: "DataModule", config: "DictConfig") -> None:
    recipe = epochs = trainer.max_epochs or 0
    if is_said(config) or recipe < 1:  # a file of the user's own may count in steps
        return
    epoch, _ = steps_of(trainer, data)
    if config.most_samples is not None:
        seen = epoch * int(config.data.batch_size) * trainer.world_size * trainer.accumulate_grad_batches
        epochs = min(epochs, math.ceil(config.most_samples / seen))
    epochs = max(epochs, math.ceil(config.least_steps / epoch))
    trainer.fit_loop.max_epochs = epochs
    if epochs > recipe and trainer.check_val_every_n_epoch == 1:
        trainer.check_val_every_n_epoch = max(1, epochs // max(recipe, _VALIDATIONS))
