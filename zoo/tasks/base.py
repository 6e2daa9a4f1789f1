"""A task: how a network learns. This file holds all that tasks share; a task itself says only what it learns and counts.

    class MyTask(Task):
        def losses(self, batch): ...              # name -> scalar; their sum is minimized
        def predict(self, batch): ...             # what the network says of each sample
        def sample_outputs(self, batch): ...      # name -> (B, ...) or a list of B, with each id and view
        def metrics(self, outputs): ...           # name -> number, from the outputs of the whole split
        def prediction(self, batch, ...): ...     # what a user is told about one file
        def draw(self, samples, folder): ...      # pictures for the run folder, if it has any

Evaluation steps keep the outputs of their samples. At the end of the epoch the ranks gather them once, samples that repeat are
dropped by their id, and the metrics are computed of the others: every sample counts exactly once however many processes
evaluate, and no step waits for another rank.
"""

import functools
import pkgutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, Self, TypedDict, Unpack

import lightning
import torch
import torch.distributed
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from zoo.batch import Batch, channels_of, foreign
from zoo.common.bfloat16 import pad_explicitly
from zoo.common.renaming import Renamed
from zoo.common.signature import ConstructorSignature, filled
from zoo.tasks.gathering import SampleOutputs, gather
from zoo.tasks.numbering import Numbering
from zoo.tasks.predictions import FilePrediction
from zoo.tasks.recipe import own_recipe

CHANNELS_LAST = {4: torch.channels_last, 5: torch.channels_last_3d}
"""By the number of axes of a batch or of a convolution's weights."""

MakeOptimizer = Callable[[Iterable[nn.Parameter]], Optimizer]
MakeScheduler = Callable[[Optimizer, int], LRScheduler]
ADAMW: MakeOptimizer = functools.partial(torch.optim.AdamW, lr=1e-3, weight_decay=0.01)
"""The optimizer where none is given: that of `conf/optimizer/adamw.yaml`."""


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


class Optimization(TypedDict, total=False):
    """What every task takes beside the network, and hands on as `**optimization: Unpack[Optimization]`."""

    optimizer: MakeOptimizer
    scheduler: MakeScheduler | None
    mean: Sequence[float] | None
    std: Sequence[float] | None
    metric: str
    mode: str
    channels_last: bool


class Task(Renamed, lightning.LightningModule):
    """What every task is built from.

    The network alone is needed: what depends on the data (their mean and deviation, the names of their classes) is asked of the
    data module when the Trainer brings both together. Each argument is kept under its name.

    Args:
        net: the network; its input is float, normalized.
        optimizer: parameters -> optimizer (a partial).
        scheduler: optimizer, number of steps -> learning rates, advanced at each step (a partial); None is constant.
        mean: of each channel, in 0..1. It travels in the checkpoint. None: what the network's published weights were trained
            with, else the data's. Batches of floats are what the network reads already, and are left as they are.
        std: likewise.
        metric: of those that the task computes, the one by which the best checkpoint is chosen, on validation data.
        mode: "max" or "min": which of two values of it is better.
        channels_last: lay out network and input with the channels last, which convolutions on a CPU or in bf16 on a GPU
            prefer.
    """

    target: ClassVar[str] = "label"
    """What it learns from: a key of `batch.TARGETS`. The data are asked for it."""
    facts: ClassVar[tuple[str, ...]] = ("class_names",)
    """Attributes that are the data's, where they were not given: see `adopt`."""
    unscored: ClassVar[frozenset[str]] = frozenset(
        ["net", "num_outputs", "optimizer", "scheduler", "metric", "mode", "channels_last"]
    )
    """Arguments on which no figure of an evaluation depends. Any other that is set is written beside a figure."""

    default_arguments: ClassVar[Optimization] = Optimization(optimizer=ADAMW, scheduler=None, mean=None, std=None)
    """A subclass adds its `metric`, `mode` and `channels_last`, and changes others."""
    old_names = MappingProxyType({"records": "sample_outputs", "answer": "prediction", "answers": "predictions"})
    __signature__ = ConstructorSignature()

    # What a task overrides

    def losses(self, batch: Any) -> dict[str, Tensor]:
        """The terms of the loss, by name."""
        raise NotImplementedError

    def predict(self, batch: Any) -> Any:
        """What the network says of each sample, one row or entry a sample."""
        raise NotImplementedError

    def sample_outputs(self, batch: Any) -> SampleOutputs:
        """What is kept of each sample to be scored: its `id` and `view`, and whatever `metrics` needs."""
        raise NotImplementedError

    def metrics(self, outputs: SampleOutputs) -> dict[str, float]:
        """The figures of a split, from the outputs of all of its samples."""
        raise NotImplementedError

    def prediction(self, batch: Any, class_names: Sequence[str], top_k: int) -> FilePrediction:
        """What a user is told about one file, whose views are the batch. `top_k` is how many classes or objects to name."""
        raise NotImplementedError

    def predictions(self, batches: Sequence[Any], class_names: Sequence[str], top_k: int) -> list[FilePrediction]:
        """The same of several files, each a batch of its views. A task of samples of one size asks the network once for all."""
        return [self.prediction(batch, class_names, top_k) for batch in batches]

    def conditions(self) -> dict[str, Any]:
        """What its figures depend on that no argument states, for result.json."""
        return {}

    def draw(self, samples: Sequence[Any], folder: Path) -> None:
        """Leave pictures of validation samples, each a batch of one on the task's device, in the run folder."""

    # What all tasks do

    def __init__(self, net: nn.Module, **optimization: Unpack[Optimization]) -> None:
        super().__init__()
        said = filled(type(self), Optimization, optimization)
        self.net = net
        self.optimizer = said["optimizer"]
        self.scheduler = said["scheduler"]
        self.metric = said["metric"]
        self.mode = said["mode"]
        self.channels_last = said["channels_last"]
        self.class_names: tuple[str, ...] = ()
        self.recipe: dict[str, Any] = {}
        """What built this task, as names and plain values; the checkpoint carries it."""
        self.remarks: list[str] = []
        """Sentences about its last evaluation, printed with the figures."""
        self.scored: dict[str, int] = {}
        """Split to the number of samples that its last evaluation counted."""
        self.mean: Tensor
        self.std: Tensor
        mean, std = said["mean"], said["std"]
        if (mean is None) != (std is None):
            raise ValueError("mean and std belong together: give both, or neither.")
        self.register_buffer("mean", torch.zeros(1))
        self.register_buffer("std", torch.ones(1))
        self.normalizes = False
        """Whether mean and deviation are known; until then only batches of floats can be read."""
        if mean is None:
            published: Mapping[str, Sequence[float]] = getattr(net, "normalization", {})
            mean, std = published.get("mean"), published.get("std")
        if mean is not None and std is not None:
            self._normalize_by(mean, std)
        self._outputs: list[SampleOutputs] = []
        self._data: dict[str, Any] = {}
        self._numbering = Numbering()
        if self.channels_last:
            for parameter in net.parameters():
                # Not net.to(memory_format=...): it refuses a network with both 2-D and 3-D convolutions.
                if parameter.dim() in CHANNELS_LAST:
                    parameter.data = parameter.data.contiguous(memory_format=CHANNELS_LAST[parameter.dim()])

    def _normalize_by(self, mean: Sequence[float], std: Sequence[float]) -> None:
        device = self.mean.device
        self.mean, self.std = torch.tensor(mean, device=device), torch.tensor(std, device=device)
        self.normalizes = True

    def adopt(self, data: Any) -> None:
        """Take from a data module what was not given: its statistics, and `facts`. Raises ValueError where they do not fit.

        Lightning's hook `setup` calls it; a subclass checks here what it needs.
        """
        self._check_names(tuple(getattr(data, "class_names", ())))
        if not self.normalizes and getattr(data, "mean", None) is not None and getattr(data, "std", None) is not None:
            self._normalize_by(tuple(data.mean), tuple(data.std))
        for name in self.facts:
            if not getattr(self, name) and (known := getattr(data, name, None)):
                setattr(self, name, tuple(known))
        for name in ("shape", *getattr(data, "facts", ())):
            if (value := getattr(data, name, None)) is not None:
                self._data[name] = list(value) if isinstance(value, tuple) else value
        self._data["data"] = type(data)

    def _check_names(self, names: tuple[str, ...]) -> None:
        """Refuse data of other classes than those that the task knows by name: what is scored was never learned."""
        if self.class_names == tuple(map(str, range(len(self.class_names)))):
            self.class_names = ()  # numbers, of a loader that names none
        if names and self.class_names and names != self.class_names and self.target != "none":
            said = [", ".join(each[:5]) + ", ..." * (len(each) > 5) for each in (self.class_names, names)]
            raise ValueError(
                f"The task knows {len(self.class_names)} classes ({said[0]}), but the data have {len(names)} ({said[1]}). "
                f"Choose data of the same classes, or make a new task of the network."
            )

    # From bytes to the network

    def normalized(self, pixels: Tensor) -> Tensor:
        """uint8 (B, C, ...) -> float (B, C, ...) of zero mean and unit deviation by channel, in the network's layout. Floats
        are taken for what the network reads."""
        if pixels.is_floating_point():
            x = pixels.to(self.std.dtype)
        else:
            if not self.normalizes:
                raise ValueError(
                    f"The batch holds bytes, but {type(self).__name__} knows no mean and deviation to normalize by. Give it "
                    f"mean= and std= (of each channel, in 0..1), or serve floats as the network reads them."
                )
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
        if (data := getattr(self.trainer, "datamodule", None)) is not None:
            self.adopt(data)
        if not self.class_names:
            self.class_names = tuple(map(str, range(getattr(self, "num_outputs", None) or 0)))
        if stage == "fit":
            pad_explicitly(self.net, self.trainer.precision, self.trainer.strategy.root_device.type)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor | None:
        batch = self.understood(batch, batch_idx)
        size = len(batch["id"])
        if not size:
            return None  # none of the batch's files could be read
        try:
            losses = self.losses(batch)
        except ValueError as error:
            if "more than 1 value per channel" in str(error):  # the batch has shrunk, for its other files cannot be read
                raise ValueError(LONE) from None
            raise
        loss = torch.stack(list(losses.values())).sum()
        if not torch.isfinite(loss):
            samples: Any = batch.get("image_id", batch["id"])  # the data's own numbers, where they have any
            raise NotFinite(loss.item(), self.global_step, samples.tolist())
        self.log("train/loss", loss.detach(), prog_bar=True, batch_size=size)
        if len(losses) > 1:
            self.log_dict({f"train/{name}": value.detach() for name, value in losses.items()}, batch_size=size)
        return loss

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self._keep(self.understood(batch, batch_idx))

    def test_step(self, batch: Any, batch_idx: int) -> None:
        self._keep(self.understood(batch, batch_idx))

    def predict_step(self, batch: Any, batch_idx: int) -> dict[str, Any]:
        """`prediction`, what `predict` says of the batch, beside each row's `id` (which sample) and `view` (which clip or crop
        of it)."""
        batch = self.understood(batch, batch_idx, told=False)
        return {"id": batch["id"], "view": batch["view"], "prediction": self.predict(batch)}

    def understood(self, batch: Any, batch_idx: int, *, told: bool = True) -> Any:
        """A batch of our data sets as it is; any other loader's, `(input, target)` or a dictionary, in the same form.

        Its samples are numbered as they come. Raises ValueError, with the form, where it cannot be understood.

        Args:
            told: whether it must hold what the task learns from.
        """
        if isinstance(batch, Mapping) and {"id", "view", "epoch", "input"} <= batch.keys():
            return batch
        fields = foreign(batch, self.target, type(self).__name__, channels_of(self.net), told=told)
        self._data.setdefault("shape", list(fields["input"].shape[1:]))
        return self._numbering.numbered(fields, batch_idx, self.trainer)

    def on_validation_epoch_end(self) -> None:
        self._score("val")

    def on_test_epoch_end(self) -> None:
        self._score("test")

    def _keep(self, batch: Batch) -> None:
        if len(batch["id"]):
            kept = self.sample_outputs(batch).items()
            self._outputs.append({name: value.cpu() if isinstance(value, Tensor) else value for name, value in kept})

    def _score(self, split: str) -> None:
        outputs = gather(self._outputs)
        self._outputs = []
        if not outputs:
            raise ValueError(f"Not one sample of the {split} split could be read, so there is nothing to score.")
        self.scored[split] = len(set(outputs["id"].tolist()))
        for name, value in self.metrics(outputs).items():
            # Every rank has gathered the same outputs, so every rank logs the same value and saves at the same moments.
            self.log(f"{split}/{name}", value, prog_bar=name == self.metric)

    # Optimization and checkpoints

    def configure_optimizers(self) -> Any:
        optimizer = self.optimizer(self.parameters())  # the frozen ones have no gradient, and stay
        if self.scheduler is None:
            return optimizer
        steps = self.trainer.estimated_stepping_batches
        if steps == float("inf"):
            raise ValueError("A schedule needs an end: set trainer.max_epochs or trainer.max_steps, or scheduler=constant.")
        scheduler = self.scheduler(optimizer, int(steps))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["zoo"] = self.recipe or own_recipe(self, self._data)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        """Mean and deviation come out of a checkpoint where they are not known yet."""
        mean, std = (state_dict.get(f"{prefix}{name}") for name in ("mean", "std"))
        if not self.normalizes and isinstance(mean, Tensor) and isinstance(std, Tensor) and (mean != 0).any():
            self._normalize_by(mean.tolist(), std.tolist())
        super()._load_from_state_dict(state_dict, prefix, *rest)

    @classmethod
    def load_from_checkpoint(  # type: ignore[override]
        cls,
        checkpoint_path: str | Path,
        map_location: str | torch.device | None = None,
        *,
        net: nn.Module | None = None,
        **arguments: Any,
    ) -> Self:
        """The task of a checkpoint with its weights: of a run of `zoo.train`, or of a Trainer that trained this class.

        The network is built from the name and the arguments that the checkpoint states. Nothing in it is imported or called.

        Args:
            checkpoint_path: a checkpoint, or a run folder, of which the best one is taken.
            map_location: the device; None is the CPU.
            net: the network, where it was not made by `zoo.create_model`; its weights are replaced.
            arguments: of the task, in place of those that the checkpoint states. The optimizer and the scheduler are never in
                it: for further training give them again.

        Raises:
            ValueError: the checkpoint is of another task, or of a network that must be given.
        """

        # By its name: to read a run is the business of a room that knows tasks.
        restored = pkgutil.resolve_name("zoo.run.trained:restored")
        task: Self = restored(cls, checkpoint_path, net, arguments)
        return task if map_location is None else task.to(map_location)


LONE = (
    "BatchNorm learns nothing from a single value of a channel, and a step has one sample only. Set data.batch_size=2 or more "
    "(each process needs as many training samples), or a larger data.shape."
)
