"""Metrics of a split: torchmetrics' own, and those of ours that torchmetrics computes otherwise, as its `Metric`s too.

A task updates them with the outputs that all processes have gathered once, so that a metric never talks to other processes.
"""

import copy
import functools
import inspect
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import nll_loss
from torchmetrics import Metric
from torchmetrics import classification as library
from torchmetrics.image import PeakSignalNoiseRatio, StructuralSimilarityIndexMeasure
from torchmetrics.regression import MeanAbsoluteError

from zoo.batch import VOID
from zoo.common.words import choice, nearest, printable

Measure = tuple[Any, Iterable[tuple[Any, ...]]]
"""A `Metric` (or a `MetricCollection`), and the arguments of each of its updates."""
MakeMetric = Callable[..., Any]

_COUNTED: Mapping[str, MakeMetric] = {
    "f1": library.MulticlassF1Score,
    "precision": library.MulticlassPrecision,
    "recall": library.MulticlassRecall,
    "specificity": library.MulticlassSpecificity,
    "balanced_accuracy": library.MulticlassAccuracy,
    "cohen_kappa": library.MulticlassCohenKappa,
    "matthews": library.MulticlassMatthewsCorrCoef,
}
CLASSES: Mapping[str, MakeMetric] = {
    **_COUNTED,
    "auroc": library.MulticlassAUROC,
    "average_precision": library.MulticlassAveragePrecision,
    "calibration_error": library.MulticlassCalibrationError,
}
"""Of probabilities (N, C) and labels (N,); the mean over classes, where there is one a class."""
PIXELS = _COUNTED
"""Of classes (H, W) and classes or void (H, W)."""
IMAGES: Mapping[str, MakeMetric] = {
    "psnr": functools.partial(PeakSignalNoiseRatio, data_range=1.0),
    "ssim": functools.partial(StructuralSimilarityIndexMeasure, data_range=1.0),
    "mae": MeanAbsoluteError,
}
"""Of images (N, C, H, W) and what they should be, 0 to 1."""


class MeanLoss(Metric):
    """The mean negative log probability of the label. (torchmetrics has the exponential of it alone, `Perplexity`.)"""

    probability: list[Tensor]

    def __init__(self) -> None:
        super().__init__()
        self.add_state("probability", [], dist_reduce_fx="cat")

    def update(self, probability: Tensor, label: Tensor) -> None:
        """(N, C) and (N,)."""
        self.probability.append(probability.gather(1, label[:, None]))

    def compute(self) -> Tensor:
        logs = torch.cat(self.probability).clamp_min(1e-12).log()
        return nll_loss(logs, torch.zeros(len(logs), dtype=torch.int64, device=logs.device))


class Mean(Metric):
    """The sum of values over the sum of their weights, in double precision. (torchmetrics' `MeanMetric` adds up in single.)"""

    total: Tensor
    weight: Tensor

    def __init__(self) -> None:
        super().__init__()
        for name in ("total", "weight"):
            self.add_state(name, torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, values: Tensor, weight: Tensor | None = None) -> None:
        """Any shape; without weights each value counts once."""
        self.total += values.double().sum()
        self.weight += values.numel() if weight is None else weight.sum()

    def compute(self) -> Tensor:
        return self.total / self.weight


class TopAccuracy(Mean):
    """The share of samples whose label is among the `k` most probable classes. (torchmetrics refuses a single class, and
    divides in single precision.)"""

    def __init__(self, k: int = 1) -> None:
        super().__init__()
        self.k = k

    def update(self, probability: Tensor, label: Tensor) -> None:  # type: ignore[override]
        """(N, C) and (N,)."""
        best = probability.topk(self.k, dim=1).indices
        super().update((best == label[:, None]).any(1))


class Overlap(Metric):
    """The four figures of Long et al. 2015, section 5, from one confusion matrix over all images: `miou`, `pixel_accuracy`,
    `mean_accuracy` and `fw_iou`. (torchmetrics' `MeanIoU` is the mean of the images' own.) A mean over classes leaves out those
    that occur neither in the truth nor in the prediction."""

    confusion: Tensor

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.add_state("confusion", torch.zeros(num_classes, num_classes, dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, confusion: Tensor) -> None:
        """(B, C, C), true classes in the rows."""
        self.confusion += confusion.sum(0, dtype=torch.int64)

    def iou(self) -> Tensor:
        """(C,) float64: intersection over union of each class; NaN where neither truth nor prediction has it."""
        hits = self.confusion.diagonal().double()
        return hits / (self.confusion.sum(0) + self.confusion.sum(1) - hits)

    def compute(self) -> Any:
        hits, truth, iou = self.confusion.diagonal().double(), self.confusion.sum(1).double(), self.iou()
        return {
            "miou": iou.nanmean(),
            "pixel_accuracy": hits.sum() / truth.sum(),
            "mean_accuracy": (hits / truth).nanmean(),
            "fw_iou": ((truth / truth.sum()) * iou.nan_to_num()).sum(),
        }


class ClassOverlap(Overlap):
    """The intersection over union of each class, (C,)."""

    def compute(self) -> Tensor:
        return self.iou()


# What `task.metrics` asks for


def wanted(
    asked: Sequence[str | MakeMetric | Metric], monitored: str, available: Mapping[str, MakeMetric]
) -> dict[str, MakeMetric]:
    """What makes each metric that is asked for, by name, and the monitored one, where it is none that the task has anyway.

    Args:
        asked: names among `available` or of one's own subclasses of `Metric`; what makes a metric; metrics.

    Raises:
        ValueError: there is no such metric.
    """
    found: dict[str, MakeMetric] = {}
    for each in [*asked, *([monitored] if monitored in {**available, **_own()} else [])]:
        if isinstance(each, str):
            if each not in (known := {**_own(), **available}):
                raise ValueError(f"task.metrics names {each!r}; {nearest(each, known)}")
            found[each] = known[each]
        elif hasattr(each, "compute") and not inspect.isclass(each):
            found[choice(type(each))] = functools.partial(_afresh, each)
        elif callable(each):
            kind: Any = each.func if isinstance(each, functools.partial) else each
            found[choice(kind)] = each
        else:
            raise ValueError(f"task.metrics has {each!r}; it names metrics, or describes some by _target_.")
    return found


def added(makers: Mapping[str, MakeMetric], num_classes: int | None, updates: Iterable[tuple[Any, ...]]) -> dict[str, Measure]:
    """The metrics of these makers, each with its updates; a maker is told of the classes what it takes and nobody has said.

    Raises ValueError where one cannot be made.
    """
    known = {"task": "multiclass", "num_classes": num_classes, "ignore_index": VOID}
    found: dict[str, Measure] = {}
    for name, make in makers.items():
        kind, said = (make.func, make.keywords) if isinstance(make, functools.partial) else (make, {})
        takes = inspect.signature(kind).parameters
        try:
            metric = make(**{key: each for key, each in known.items() if key in takes and key not in said})
        except (TypeError, ValueError) as error:
            raise ValueError(f"The metric {name} of task.metrics cannot be made: {error}") from error
        if not (hasattr(metric, "update") and hasattr(metric, "compute")):
            raise ValueError(f"{name} of task.metrics makes a {type(metric).__name__}, which is no metric of torchmetrics.")
        found[name] = metric, updates
    return found


def computed(name: str, metric: Any, updates: Iterable[tuple[Any, ...]], class_names: Sequence[str]) -> dict[str, float]:
    """The figures of a metric: one, or several by NAME_KEY (KEY alone where `name` is empty), or one a class, NAME/CLASS, but
    for classes that have none.

    Raises ValueError where it computes something else.
    """
    for part in metric.modules():
        if isinstance(part, Metric):
            part.distributed_available_fn = _alone  # every process has all that there is
    for each in updates:
        metric.update(*each)
    value = metric.compute()
    if isinstance(value, Mapping):
        numbers = {key: each for key, each in value.items() if torch.as_tensor(each).numel() == 1}
        return {f"{name}_{key}" if name else str(key): float(each) for key, each in numbers.items()}
    found = torch.as_tensor(value)
    if found.shape == (len(class_names),):
        pairs = zip(class_names, found.tolist(), strict=True)
        return {f"{name}/{printable(each)}": figure for each, figure in pairs if not math.isnan(figure)}
    if found.numel() == 1:
        return {name: found.item()}
    raise ValueError(f"The metric {name} computes {tuple(found.shape)} numbers; it must be one, one a class, or some by name.")


def _alone() -> bool:
    return False


def _afresh(metric: Any) -> Any:
    again = copy.deepcopy(metric)
    again.reset()
    return again


def _own() -> dict[str, MakeMetric]:
    """The subclasses of `Metric` that were defined outside of the libraries and of this package."""
    waiting, found = [Metric], dict[str, MakeMetric]()
    while waiting:
        for kind in waiting.pop().__subclasses__():
            waiting.append(kind)
            if kind.__module__.partition(".")[0] not in ("torchmetrics", "zoo", "lightning"):
                found[choice(kind)] = kind
    return found
