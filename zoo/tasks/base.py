"""A task: how a network learns. This file holds all that tasks share; a task itself says only what it learns and counts.

    class MyTask(Task):
        def losses(self, batch): ...          # name -> scalar; their sum is minimised
        def records(self, batch): ...         # name -> (B, ...) or a list of B: what a sample says, with its id and view
        def metrics(self, records): ...       # name -> number, from the records of the whole split
        def answer(self, batch, ...): ...     # what a user is told about one file
        def draw(self, samples, folder): ...  # pictures for the run folder, if it has any

Evaluation steps only keep records. At the end of the epoch they are gathered from all ranks once, repeated samples are
dropped by their id, and the metrics are computed from what is left: every sample counts exactly once however many
processes evaluate, and no step waits for another rank.
"""

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import lightning
import numpy as np
import torch
import torch.distributed
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from zoo.batch import Batch
from zoo.bfloat16 import pad_beforehand

if TYPE_CHECKING:
    from PIL.Image import Image

CHANNELS_LAST = {4: torch.channels_last, 5: torch.channels_last_3d}
"""By the number of axes of a batch or of a convolution's weights."""

Records = dict[str, Any]
"""By name a tensor (B, ...), or a list of B where samples say more or less: plain values."""
MakeOptimizer = Callable[[Iterable[nn.Parameter]], Optimizer]
MakeScheduler = Callable[[Optimizer, int], LRScheduler]


@dataclass(frozen=True)
class Answer:
    """What a prediction says of one file: a line of text, the same as plain values, and pictures by name."""

    text: str
    fields: dict[str, Any]
    pictures: dict[str, "Image"] = field(default_factory=dict)


class NotFinite(ValueError):
    """A loss that is not a finite number, with the samples that gave it."""

    def __init__(self, loss: float, step: int, ids: list[int]) -> None:
        super().__init__(
            f"The loss became {loss} at step {step}, on samples {ids}. "
            f"Lower optimizer.lr, or set trainer.gradient_clip_val, or look at these samples."
        )
        self.loss = loss
        self.step = step
        self.ids = ids


def ranked(probability: Tensor, class_names: Sequence[str], top_k: int) -> Answer:
    """The classes, most probable first; `probability` is (C,)."""
    best = probability.topk(min(top_k, len(class_names)))
    top = [(class_names[at], value) for at, value in zip(best.indices.tolist(), best.values.tolist(), strict=True)]
    return Answer(
        text=", ".join(f"{name} {value:.3f}" for name, value in top),
        fields={"top": [{"class": name, "probability": value} for name, value in top]},
    )


class Task(lightning.LightningModule):
    """What every task is built from.

    Args:
        net: the network; its input is float, normalised.
        optimizer: parameters -> optimiser (a partial).
        scheduler: optimiser, number of steps -> learning rates, advanced at each step (a partial); None is constant.
        mean: of each channel, in 0..1. It travels in the checkpoint.
        std: likewise.
        metric: of those that the task computes, the one by which the best checkpoint is chosen, on validation data.
        mode: "max" or "min": which of two values of it is better.
        channels_last: lay out network and input with the channels last, which convolutions on a CPU or in bf16 on a GPU
            prefer.
    """

    target: ClassVar[str] = "label"
    """What it learns from: a key of `batch.TARGETS`. The data are asked for it."""
    unscored: ClassVar[frozenset[str]] = frozenset(
        ["net", "num_outputs", "optimizer", "scheduler", "metric", "mode", "channels_last"]
    )
    """Arguments on which no figure of an evaluation depends. Any other that is set is written beside a figure."""

    def __init__(
        self,
        net: nn.Module,
        *,
        optimizer: MakeOptimizer,
        scheduler: MakeScheduler | None,
        mean: Sequence[float],
        std: Sequence[float],
        metric: str,
        mode: str,
        channels_last: bool,
    ) -> None:
        super().__init__()
        self.net = net
        self.make_optimizer = optimizer
        self.make_scheduler = scheduler
        self.metric = metric
        self.mode = mode
        self.channels_last = channels_last
        self.recipe: dict[str, Any] = {}
        """What built this task, as names and plain values; the checkpoint carries it."""
        self.remarks: list[str] = []
        """Sentences about its last evaluation, printed with the figures."""
        self.scored: dict[str, int] = {}
        """Split to the number of samples that its last evaluation counted."""
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.tensor(mean))
        self.register_buffer("std", torch.tensor(std))
        self._records: list[Records] = []
        if channels_last:
            for parameter in net.parameters():
                # Not net.to(memory_format=...): it refuses a network with both 2-D and 3-D convolutions.
                if parameter.dim() in CHANNELS_LAST:
                    parameter.data = parameter.data.contiguous(memory_format=CHANNELS_LAST[parameter.dim()])

    # What a task says of itself

    def losses(self, batch: Any) -> dict[str, Tensor]:
        raise NotImplementedError

    def records(self, batch: Any) -> Records:
        raise NotImplementedError

    def metrics(self, records: Records) -> dict[str, float]:
        raise NotImplementedError

    def answer(self, batch: Any, class_names: Sequence[str], top_k: int) -> Answer:
        """Of one file: its views are the batch. `top_k` is how many classes or objects to name."""
        raise NotImplementedError

    def conditions(self) -> dict[str, Any]:
        """What its figures depend on that no argument states, for result.json."""
        return {}

    def draw(self, samples: Sequence[Any], folder: Path) -> None:
        """Leave pictures of validation samples, each a batch of one on the task's device, in the run folder."""

    # From bytes to the network

    def normalized(self, pixels: Tensor) -> Tensor:
        """uint8 (B, C, ...) -> float (B, C, ...) of zero mean and unit deviation by channel, in the network's layout."""
        shape = (-1,) + (1,) * (pixels.dim() - 2)
        scale = (255 * self.std).reshape(shape)
        x = pixels.to(scale.dtype).sub_((255 * self.mean).reshape(shape)).div_(scale)
        if self.channels_last:
            x = x.contiguous(memory_format=CHANNELS_LAST[x.dim()])
        return x

    def forward(self, pixels: Tensor) -> Any:
        return self.net(self.normalized(pixels))

    # Lightning's steps

    def setup(self, stage: str) -> None:
        if stage == "fit":
            pad_beforehand(self.net, self.trainer.precision, self.trainer.strategy.root_device.type)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor | None:
        size = len(batch["id"])
        if not size:
            return None  # none of the batch's files could be read
        try:
            losses = self.losses(batch)
        except ValueError as error:
            if "more than 1 value per channel" in str(error):  # the batch has shrunk, for its other files cannot be read
                raise ValueError(_LONE) from None
            raise
        loss = torch.stack(list(losses.values())).sum()
        if not torch.isfinite(loss):
            samples: Any = batch.get("image_id", batch["id"])  # the data's own numbers, where they have any
            raise NotFinite(loss.item(), self.global_step, samples.tolist())
        self.log("train/loss", loss.detach(), prog_bar=True, batch_size=size)
        if len(losses) > 1:
            self.log_dict({f"train/{name}": value.detach() for name, value in losses.items()}, batch_size=size)
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        self._keep(batch)

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        self._keep(batch)

    def on_validation_epoch_end(self) -> None:
        self._score("val")

    def on_test_epoch_end(self) -> None:
        self._score("test")

    def _keep(self, batch: Batch) -> None:
        if len(batch["id"]):
            kept = self.records(batch).items()
            self._records.append({name: value.cpu() if isinstance(value, Tensor) else value for name, value in kept})

    def _score(self, split: str) -> None:
        records = gather(self._records)
        self._records = []
        if not records:
            raise ValueError(f"Not one sample of the {split} split could be read, so there is nothing to score.")
        self.scored[split] = len(set(records["id"].tolist()))
        for name, value in self.metrics(records).items():
            # Every rank has gathered the same records, so every rank logs the same value and saves at the same moments.
            self.log(f"{split}/{name}", value, prog_bar=name == self.metric)

    # Optimisation and checkpoints

    def configure_optimizers(self) -> Any:
        optimizer = self.make_optimizer(self.parameters())  # the frozen ones have no gradient, and stay
        if self.make_scheduler is None:
            return optimizer
        steps = self.trainer.estimated_stepping_batches
        if steps == float("inf"):
            raise ValueError("A schedule needs an end: set trainer.max_epochs or trainer.max_steps, or scheduler=constant.")
        scheduler = self.make_scheduler(optimizer, int(steps))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["zoo"] = self.recipe


_LONE = (
    "BatchNorm learns nothing from a single value of a channel, and a step has one sample only. Set data.batch_size=2 or more "
    "(each process needs as many training samples), or a larger data.shape."
)


def check_step(task: Task, data: Any, processes: int = 1, *, synchronized: bool = False) -> None:
    """Refuse steps of one sample each where BatchNorm would see one value of a channel.

    Args:
        data: the data module, set up.
        synchronized: whether the processes share BatchNorm's statistics.
    """
    from zoo.flops import profile

    share = -(-len(data.splits["train"]) // processes)
    if min(data.batch_size, share) == 1 and not (synchronized and processes > 1):
        with no_lone_values(task.net):
            profile(task.net, data.shape)


@contextlib.contextmanager
def no_lone_values(net: nn.Module) -> Iterator[None]:
    """Refuse a network that is fed one sample meanwhile, if its BatchNorm would see one value of a channel in training."""

    lone: list[nn.Module] = []

    def check(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        if inputs[0].numel() == inputs[0].shape[1]:
            lone.append(module)

    layers = [each for each in net.modules() if isinstance(each, nn.modules.batchnorm._BatchNorm) and each.training]
    hooks = [each.register_forward_pre_hook(check) for each in layers]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
    if lone:
        raise ValueError(_LONE)


def gather(parts: list[Records]) -> Records:
    """The records of all ranks, each (id, view) once, in the order of ids and views."""
    mine = _joined(parts)
    everyone = [mine]
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        everyone = [{} for _ in range(torch.distributed.get_world_size())]
        torch.distributed.all_gather_object(everyone, mine)
    records = _joined([part for part in everyone if part])
    if not records:
        return {}
    key = torch.stack([records["id"], records["view"]], dim=1).numpy()
    _, first = np.unique(key, axis=0, return_index=True)
    return {
        name: value[torch.from_numpy(first)] if isinstance(value, Tensor) else [value[at] for at in first]
        for name, value in records.items()
    }


def _joined(parts: list[Records]) -> Records:
    return {
        name: torch.cat([part[name] for part in parts])
        if isinstance(value, Tensor)
        else [item for part in parts for item in part[name]]
        for name, value in (parts[0] if parts else {}).items()
    }
