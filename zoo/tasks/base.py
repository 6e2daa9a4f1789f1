"""A task: how a network learns. Here is all that tasks share; a task itself says only what it learns and counts.

    class MyTask(Task):
        def losses(self, batch): ...              # name -> scalar; their sum is minimized
        def predict(self, batch): ...             # what the network says of each sample
        def sample_outputs(self, batch): ...      # name -> (B, ...) or a list of B, with each id and view
        def measures(self, outputs): ...          # name -> a metric of torchmetrics, and what it is updated with
        def prediction(self, batch, ...): ...     # what a user is told about one file
        def draw(self, samples, folder): ...      # pictures for the run folder, if it has any

What Lightning calls is in steps.py.
"""

import functools
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, TypedDict, Unpack

import torch
from torch import Tensor, nn

from zoo.common.renaming import Renamed
from zoo.common.signature import ConstructorSignature, filled
from zoo.tasks.gathering import SampleOutputs
from zoo.tasks.metrics import MakeMetric, Measure, added, computed, wanted
from zoo.tasks.predictions import FilePrediction
from zoo.tasks.recipe import Restorable
from zoo.tasks.steps import MakeOptimizer, MakeScheduler, Steps

ADAMW: MakeOptimizer = functools.partial(torch.optim.AdamW, lr=1e-3, weight_decay=0.01)
"""The optimizer where none is given: that of `conf/optimizer/adamw.yaml`."""


class Optimization(TypedDict, total=False):
    """What every task takes beside the network, and hands on as `**optimization: Unpack[Optimization]`."""

    optimizer: MakeOptimizer
    """Parameters -> optimizer (a partial)."""
    scheduler: MakeScheduler | None
    """Optimizer, number of steps -> learning rates, advanced at each step (a partial); None is constant."""
    mean: Sequence[float] | None
    """Of each channel, in 0..1. It travels in the checkpoint. None: what the network's published weights were trained with,
    else the data's. Batches of floats are what the network reads already, and are left as they are."""
    std: Sequence[float] | None
    """Likewise."""
    metric: str
    """Of those that the task computes, the one by which the best checkpoint is chosen, on validation data."""
    mode: str
    """"max" or "min": which of two values of it is better."""
    metrics: Sequence[str | MakeMetric]
    """More metrics than the task's own: names among its `available`, or of one's own subclass of `torchmetrics.Metric`; or
    metrics. A class or a partial is told `num_classes` if it asks for it."""
    channels_last: bool
    """Lay out network and input with the channels last, which convolutions on a CPU or in bf16 on a GPU prefer."""


class Task(Renamed, Restorable, Steps):  # type: ignore[misc]  # Lightning restores by other arguments
    """What every task is built from.

    The network alone is needed: what depends on the data (their mean and deviation, the names of their classes) is asked of the
    data module when the Trainer brings both together. Each argument is kept under its name; `metrics` is `wanted`.

    Args:
        net: the network; its input is float, normalized.
        optimization: the arguments that `Optimization` lists.
    """

    target: ClassVar[str] = "label"
    """What it learns from: a key of `batch.TARGETS`. The data are asked for it."""
    facts: ClassVar[tuple[str, ...]] = ("class_names",)
    """Attributes that are the data's, where they were not given: see `adopt`."""
    available: ClassVar[Mapping[str, MakeMetric]] = MappingProxyType({})
    """What `metrics` may name."""
    unscored: ClassVar[frozenset[str]] = frozenset(
        "net num_outputs optimizer scheduler metric mode metrics channels_last".split()
    )
    """Arguments on which no figure of an evaluation depends. Any other that is set is written beside a figure."""
    default_arguments: ClassVar[Optimization] = Optimization(optimizer=ADAMW, scheduler=None, mean=None, std=None, metrics=())
    """A subclass adds its `metric`, `mode` and `channels_last`, and changes others."""
    old_names = MappingProxyType({"records": "sample_outputs", "answer": "prediction", "answers": "predictions"})
    __signature__ = ConstructorSignature()

    def losses(self, batch: Any) -> dict[str, Tensor]:
        """The terms of the loss, by name."""
        raise NotImplementedError

    def predict(self, batch: Any) -> Any:
        """What the network says of each sample, one row or entry a sample."""
        raise NotImplementedError

    def sample_outputs(self, batch: Any) -> SampleOutputs:
        """What is kept of each sample to be scored: its `id` and `view`, and whatever `measures` needs."""
        raise NotImplementedError

    def measures(self, outputs: SampleOutputs) -> dict[str, Measure]:
        """The metrics of a split by name, each with its updates, from the outputs of all samples."""
        raise NotImplementedError

    def pairs(self, outputs: SampleOutputs) -> Iterable[tuple[Any, ...]]:
        """What the further `metrics` are updated with: predictions and truth, in torchmetrics' form."""
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

    def __init__(self, net: nn.Module, **optimization: Unpack[Optimization]) -> None:
        super().__init__()
        said = filled(type(self), Optimization, optimization)
        self.net = net
        self.optimizer, self.scheduler = said["optimizer"], said["scheduler"]
        self.metric, self.mode = said["metric"], said["mode"]
        self.wanted = wanted(said["metrics"], self.metric, self.available)
        self.channels_last = said["channels_last"]
        self.class_names = ()
        self.normalize_by(net, said["mean"], said["std"])

    def metrics(self, outputs: SampleOutputs) -> dict[str, float]:
        """The figures of a split, from the outputs of all of its samples."""
        found, classes = self.measures(outputs), getattr(self, "num_outputs", None)
        if more := {name: make for name, make in self.wanted.items() if name not in found}:
            found |= added(more, classes, [*self.pairs(outputs)])
        names = self.class_names or tuple(map(str, range(classes or 0)))
        figures = (computed(name, *measure, names) for name, measure in found.items())
        return {name: value for each in figures for name, value in each.items()}

    def forward(self, pixels: Tensor) -> Any:
        return self.net(self.normalized(pixels))
