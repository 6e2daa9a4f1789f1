"""What a run prints before and after training."""

import logging
import math
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lightning
import torch
from lightning.pytorch.utilities import rank_zero_only
from omegaconf import DictConfig
from rich.console import Console
from rich.table import Table
from torch import Tensor

from zoo.common.numbers import figure, quantity
from zoo.common.progress import to_a_person
from zoo.common.words import printable, shell_word, warning_line
from zoo.run import augmentation, plugins
from zoo.run.folder import checkpoint_path, first_process

if TYPE_CHECKING:
    from zoo.data.base import DataModule
    from zoo.data.loading.dataset import SplitDataset
    from zoo.run.freeze import Freeze
    from zoo.tasks.base import Task

# Messages of libraries that tell a user of this one nothing; each names what it would report.
_NOISE = (
    "Experiment logs directory .* exists",  # it is the run folder, in which Hydra has just written
    "`isinstance\\(treespec, LeafSpec\\)` is deprecated",  # between Lightning and torch
    "The .* does not have many workers",  # data in memory need none
    "The number of training batches .* is smaller than the logging interval",
    "Found .* module\\(s\\) in eval mode",  # frozen ones are meant to be; a table says which
    "It is recommended to use `self.log.*sync_dist=True",  # what is logged at an epoch's end was gathered before
    "You're resuming from a checkpoint that ended before the epoch ended",  # the data module knows where it stood
    "Checkpoint directory .* exists and is not empty",  # that of a run that goes on
    "Be aware that when using `ckpt_path`, callbacks used to create",  # averages, which a test must not undo
    "`weights_only` was not set",  # it is set wherever this project loads
)


def quiet() -> None:
    """Silence the libraries' messages, but not the warnings that matter."""
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for message in _NOISE:
        warnings.filterwarnings("ignore", message)
    if to_a_person():
        warnings.formatwarning = warning_line  # once more after Lightning, which has its own


SAMPLES = {3: "images", 4: "clips"}
FEW = 100
"""Below so many steps a network hardly learns; on fewer samples than that, two epochs are hardly told apart."""


@dataclass(frozen=True)
class Conditions:
    """The conditions of a figure, printed and written beside it."""

    weights: str
    """See `weights_of`."""
    protocol: str
    """See `zoo.run.protocol`."""


class Clock:
    """A run's time. `before` is what it took in earlier processes, up to where this one resumes."""

    def __init__(self) -> None:
        self.before = 0.0
        self._start = time.perf_counter()

    @property
    def seconds(self) -> float:
        return self.before + time.perf_counter() - self._start

    def __str__(self) -> str:
        minutes, seconds = divmod(round(self.seconds), 60)
        return f"{minutes} min {seconds} s" if minutes else f"{seconds} s"


def block(rows: Mapping[str, str]) -> None:
    """Names and values, aligned. Plain lines: a path that a table had folded could not be copied."""
    width = max(map(len, rows))
    for name, value in rows.items():
        print(printable(f"{name:<{width}}  {value}"))


def device_of(trainer: lightning.Trainer) -> str:
    kind = trainer.strategy.root_device
    name = torch.cuda.get_device_name(kind) if kind.type == "cuda" else f"{kind.type} ({torch.get_num_threads()} threads)"
    return f"{trainer.world_size} x {name}" if trainer.world_size > 1 else name


def count(samples: "SplitDataset") -> int:
    """Images or videos, however many views of each are served."""
    return len(samples) // samples.views


def differences(found: Mapping[str, str]) -> None:
    """Print the settings that differ from those of the resumed run."""
    if found and first_process():
        print("goes on with other settings than it was begun with:")
        for name, each in found.items():
            print(f"  {printable(name)} {each}")


@rank_zero_only
def before(
    trainer: lightning.Trainer,
    task: "Task",
    data: "DataModule",
    config: DictConfig,
    macs: int,
    size: str,
) -> None:
    """Print the block before training; `size` as of `zoo.flops.dry.in_words`."""
    names = task.recipe["names"]
    counts = ", ".join(f"{count(samples):,} {split}" for split, samples in data.splits.items())
    batch = data.batch_size * trainer.world_size * trainer.accumulate_grad_batches
    trained = sum(p.numel() for p in task.net.parameters() if p.requires_grad)
    parameters = sum(p.numel() for p in task.net.parameters())
    trains = "" if trained == parameters else f", of which {trained:,} are trained"
    block(
        {
            "model": names["model"],
            "size": size,
            **_started(config),
            "parameters": quantity(parameters) + trains,
            "multiply-adds": f"{quantity(macs)} at {' x '.join(map(str, data.shape))}",
            "task": names["task"],
            "data": f"{names['data']}: {counts} {SAMPLES[len(data.shape)]}, {data.num_classes} classes",
            "device": f"{device_of(trainer)}, precision {trainer.precision}",
            "batch": f"{batch} ({data.batch_size} x {trainer.world_size} devices x {trainer.accumulate_grad_batches} steps)"
            if batch != data.batch_size
            else str(batch),
            "learning rate": f"{config.optimizer.lr:g} ({config.optimizer._target_.rpartition('.')[2]})"
            + (f", scaled from the recipe's batch of {config.reference_batch} to {batch}" if config.reference_batch else ""),
            "augmentation": augmentation.in_words(config, data),
            "steps": _steps(trainer, data, config),
            **_limited(trainer),
            "run folder": str(config.run_dir),
        }
    )
    if contradiction := augmentation.contradiction(config, data):
        print(printable(contradiction))


def _started(config: DictConfig) -> dict[str, str]:
    """The row about pretrained weights, where there are any."""
    from zoo.models._entry import Weights
    from zoo.models._start import BACKBONE_WEIGHTS, PRETRAINED, nothing, start_of

    key = PRETRAINED if nothing(config.model.get(BACKBONE_WEIGHTS)) else BACKBONE_WEIGHTS
    if nothing(config.model.get(key)) or config.resume:
        return {}
    start = start_of(config.model.name, config.model)
    return {key.replace("_", " "): f"{start.model}:{start.tag}" if isinstance(start, Weights) else str(config.model[key])}


def steps_of(trainer: lightning.Trainer, data: "DataModule") -> tuple[int, int | None]:
    """Optimizer's steps an epoch, and of the whole run; None if the time decides."""
    batches = data.training_batches(trainer.world_size)
    limit = trainer.limit_train_batches
    batches = min(batches, limit) if isinstance(limit, int) else int(batches * limit)
    epoch = math.ceil(batches / trainer.accumulate_grad_batches)
    ends = [trainer.max_steps] if trainer.max_steps >= 0 else []
    ends += [epoch * trainer.max_epochs] if trainer.max_epochs is not None and trainer.max_epochs >= 0 else []
    return epoch, min(ends, default=None)


def _steps(trainer: lightning.Trainer, data: "DataModule", config: DictConfig) -> str:
    """`2,400 (8 epochs of 300)`; where the recipe's epochs are others it says so, and of too few how to take more."""
    epoch, steps = steps_of(trainer, data)
    if steps is None:
        return f"as many as the time allows, {epoch:,} an epoch"
    epochs = steps / max(1, epoch)
    said = f"{steps:,} ({epochs:.3g} epoch{'s' * (epochs != 1)} of {epoch:,})"
    recipe = config.trainer.max_epochs or 0
    if recipe != trainer.max_epochs and recipe > 0:
        more = "less" if recipe < (trainer.max_epochs or 0) else "more"
        said += f"; the recipe's {recipe} epoch{'s' * (recipe != 1)} would be {more} than it takes: see trainer.max_epochs"
    if steps < FEW:
        said += f"; a network hardly learns in fewer than about {FEW}: trainer.max_steps=1000 takes more"
    return said


def _limited(trainer: lightning.Trainer) -> dict[str, str]:
    """What is left of validation and test, where the Trainer's limits leave less than all."""
    rows = {}
    for split, limit in (("val", trainer.limit_val_batches), ("test", trainer.limit_test_batches)):
        if limit == 0:
            rows[f"{split} split"] = f"none (trainer.limit_{split}_batches=0)"
        elif limit != 1.0 or isinstance(limit, int):
            much = f"{limit:,} batches" if isinstance(limit, int) else f"{100 * limit:g} %"
            rows[f"{split} split"] = f"{much} at most, of samples from every part of the split (trainer.limit_{split}_batches)"
    return rows


@rank_zero_only
def determinism(operations: Sequence[str] | None) -> None:
    """Print which operations are not deterministic on a GPU, where somebody asked."""
    if operations is not None:
        print(f"on a GPU, not the same bits twice: {', '.join(operations) or 'no operation'}")


@rank_zero_only
def parts(freeze: "Freeze | None") -> None:
    """Print which parts train and which do not, where some are frozen."""
    if freeze is None:
        return
    table = Table("part", "parameters", "", box=None, pad_edge=False)
    for name, count, state in freeze.rows():
        table.add_row(printable(name), quantity(count), state)
    print()
    Console(soft_wrap=True, highlight=False, markup=False, emoji=False).print(table)


@rank_zero_only
def found(data: "DataModule") -> None:
    """Print what is unexpected in the files, and which of them are skipped."""
    for note in data.notes:
        print(printable(note))
    name_bad(data)


@rank_zero_only
def name_bad(data: "DataModule") -> None:
    """Print the files that are skipped, each with its reason."""
    for why, files in (("cannot be read and are", data.skipped), ("are", data.skipped_groups)):
        if files:
            print(f"{len(files)} files {why} left out:")
            for path, reason in sorted(files.items()):
                print(printable(f"  {path}: {reason}"))


@rank_zero_only
def scores(task: "Task", data: "DataModule", split: str, metrics: Mapping[str, Any], how: Conditions) -> None:
    """Print `test accuracy 0.937`, the task's other metrics, the number of samples, the weights and the protocol."""
    own = {name.removeprefix(f"{split}/"): float(value) for name, value in metrics.items() if name.startswith(f"{split}/")}
    if (main := own.pop(task.metric, None)) is not None:  # of other data than it was trained on, it may say nothing
        print(f"{split} {task.metric} {figure(main)}")
    for name, value in own.items():
        print(f"{split} {name} {value:.4g}")
    print(f"scored {counted(task, data, split)}")
    for remark in task.remarks:
        print(printable(remark))
    print(f"weights {printable(how.weights)}")
    print(f"protocol {printable(how.protocol)}")


def counted(task: "Task", data: "DataModule", split: str) -> str:
    """`32 of 128 test samples, one of every 4 (trainer.limit_test_batches)`."""
    scored, listed = task.scored[split], count(data.splits[split]) + data.skipped_counts.get(split, 0)
    limited = data.limited.get(split)
    part = f", one of every {count(data.splits[split]) / limited:.3g} (trainer.limit_{split}_batches)" if limited else ""
    return f"{scored:,} of {listed:,} {split} samples{part}"


def weights_of(place: str | Path | None, content: Mapping[str, Any]) -> str:
    """`best.ckpt, after 300 steps, averaged (EMAWeightAveraging)`: whose figure it is.

    Args:
        place: the checkpoint, its run folder, or published weights `MODEL:TAG`; None where no checkpoint was kept.
        content: of the checkpoint; published weights state no step.
    """
    if place is None:
        return "those of the end of training, which no checkpoint keeps"
    if "global_step" not in content:
        return str(place)
    parts = [checkpoint_path(place).name, f"after {int(content['global_step']):,} steps"]
    if "averaging_state" in content:  # Lightning's key; the raw weights are in the checkpoint too, but not loaded
        names = [str(name).partition("{")[0] for name in content.get("callbacks", {}) if "WeightAveraging" in str(name)]
        parts.append(f"averaged{''.join(f' ({name})' for name in names[:1])}")
    return ", ".join(parts)


@rank_zero_only
def after(
    trainer: lightning.Trainer,
    task: "Task",
    data: "DataModule",
    metrics: Mapping[str, Tensor],
    checkpoint: str | None,
    how: Conditions,
    run_dir: str,
    clock: Clock,
) -> None:
    """Print the block after training."""
    print()
    callback: Any = trainer.checkpoint_callback
    score = getattr(callback, "best_model_score", None)
    if score is not None:
        print(f"best val {task.metric} {figure(float(score))}")
        if "val" in task.scored:  # a finished run that is taken up again has nothing left to validate
            few = f" Fewer than {FEW} hardly tell one epoch from another." if task.scored["val"] < FEW else ""
            print(f"chosen on {counted(task, data, 'val')}{'.' if few else ''}{few}")
    else:
        print("Nothing was validated, so no epoch was chosen: the weights are those of the end of training.")
    if "test" in task.scored:
        scores(task, data, "test", metrics, how)
    name_bad(data)
    print(f"time {clock}")
    if checkpoint:
        print(f"checkpoint {printable(checkpoint)}")
        folder = " ".join(map(shell_word, [run_dir, *plugins.imported()]))
        print(f"evaluate   python -m zoo.evaluate {folder}")
        print(f"predict    python -m zoo.predict {folder} FILE")
