"""Classification: of images, of videos by their clips, of anything with one label."""

from collections.abc import Sequence
from typing import Any, Literal, Unpack

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, multi_margin_loss
from torchvision.transforms.v2 import CutMix, MixUp

from zoo.batch import Batch, LabelBatch
from zoo.tasks.base import Optimization, Task
from zoo.tasks.classes import check_classes, outputs_of
from zoo.tasks.gathering import SampleOutputs
from zoo.tasks.metrics import CLASSES, MeanLoss, Measure, TopAccuracy
from zoo.tasks.predictions import FilePrediction, ranked, together


class ClassificationTask(Task):
    """Cross-entropy on one view in training; at test the probabilities of a sample's views (clips, crops) are averaged.

    Metrics: `accuracy` and `loss` (the mean negative log probability of the label) of samples, after averaging; with
    more than ten classes `accuracy_top5`; with more than one view a sample `view_accuracy`, each view on its own.

    Args:
        num_outputs: number of classes; None is the network's own.
        loss: "cross_entropy", or "hinge": the sum over the wrong classes of max(0, margin + score - score of the label)
            (Weston and Watkins 1999). Where all scores are equal these are log C and (C - 1) * margin.
        margin: of the hinge loss.
        label_smoothing: share of the target spread over all classes (Szegedy et al. 2016, section 7).
        mixup: alpha of mixup (Zhang et al. 2018); 0 is none.
        cutmix: alpha of CutMix (Yun et al. 2019); 0 is none. With both, each batch takes one of them, evenly.
    """

    available = CLASSES
    unscored = Task.unscored | {"loss", "margin", "label_smoothing", "mixup", "cutmix"}
    default_arguments = Optimization(metric="accuracy", mode="max", channels_last=False)

    def __init__(
        self,
        net: nn.Module,
        *,
        num_outputs: int | None = None,
        loss: Literal["cross_entropy", "hinge"] = "cross_entropy",
        margin: float = 1.0,
        label_smoothing: float = 0.0,
        mixup: float = 0.0,
        cutmix: float = 0.0,
        **optimization: Unpack[Optimization],
    ) -> None:
        super().__init__(net, **optimization)
        self.num_outputs = outputs_of(net) if num_outputs is None else num_outputs
        self.loss = loss
        self.margin = margin
        self.label_smoothing = label_smoothing
        self.mixup = mixup
        self.cutmix = cutmix
        if not 0 <= label_smoothing <= 1:
            raise ValueError(f"task.label_smoothing is {label_smoothing}; it is a share, from 0 to 1.")
        for name, value in (("margin", margin), ("mixup", mixup), ("cutmix", cutmix)):
            if value < 0:
                raise ValueError(f"task.{name} is {value}; it is at least 0.")
        kinds = ((MixUp, mixup), (CutMix, cutmix))
        self.mixes = [kind(alpha=alpha, num_classes=self.num_outputs) for kind, alpha in kinds if alpha]
        if loss == "hinge" and (self.mixes or label_smoothing):
            raise ValueError("The hinge loss needs one label a sample: set task.label_smoothing, mixup and cutmix to 0.")

    def adopt(self, data: Any) -> None:
        super().adopt(data)
        check_classes(self, data)

    def losses(self, batch: LabelBatch) -> dict[str, Tensor]:
        x, target = self.normalized(batch["input"]), batch["label"]
        if self.mixes:
            x, target = self._mixed(x, target, batch)
        scores = self.net(x).float()
        hits = scores.detach().argmax(1) == batch["label"]
        self.log("train/accuracy", hits.float().mean(), prog_bar=True, batch_size=len(hits))
        if self.loss == "hinge":
            # torch divides by the number of classes.
            return {"hinge": multi_margin_loss(scores, target, margin=self.margin) * self.num_outputs}
        return {"cross_entropy": cross_entropy(scores, target, label_smoothing=self.label_smoothing)}

    def _mixed(self, x: Tensor, label: Tensor, batch: LabelBatch) -> tuple[Tensor, Tensor]:
        """Images mixed with one another, and the probabilities of their classes; the draw is a function of the batch."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(hash((int(batch["epoch"][0]), *batch["id"].tolist())))
            mix = self.mixes[int(torch.randint(len(self.mixes), ()))]
            mixed: tuple[Tensor, Tensor] = mix(x, label)
        return mixed

    def predict(self, batch: Batch) -> Tensor:
        """(B, num_outputs): the probabilities of each view's classes."""
        return torch.softmax(self(batch["input"]).float(), dim=1)

    def prediction(self, batch: Batch, class_names: Sequence[str], top_k: int) -> FilePrediction:
        return self.predictions([batch], class_names, top_k)[0]

    def predictions(self, batches: Sequence[Batch], class_names: Sequence[str], top_k: int) -> list[FilePrediction]:
        return ranked(together(batches, self.predict), class_names, top_k)

    def sample_outputs(self, batch: LabelBatch) -> SampleOutputs:
        kept = {"id": batch["id"], "view": batch["view"], "label": batch["label"]}
        return {**kept, "probability": self.predict(batch)}

    def measures(self, outputs: SampleOutputs) -> dict[str, Measure]:
        samples = [self._samples(outputs)]
        found: dict[str, Measure] = {"accuracy": (TopAccuracy(), samples), "loss": (MeanLoss(), samples)}
        if self.num_outputs > 10:
            found["accuracy_top5"] = (TopAccuracy(5), samples)
        if len(outputs["id"]) > len(samples[0][1]):
            found["view_accuracy"] = (TopAccuracy(), [(outputs["probability"], outputs["label"])])
        return found

    def pairs(self, outputs: SampleOutputs) -> list[tuple[Tensor, Tensor]]:
        """Probabilities (N, C) and labels (N,), of samples."""
        return [self._samples(outputs)]

    def _samples(self, outputs: SampleOutputs) -> tuple[Tensor, Tensor]:
        """The average of each sample's views, and its label."""
        _, probability = join_views(outputs["id"], outputs["probability"])
        label: Tensor = outputs["label"]
        return probability, label[_first(outputs["id"])]


def join_views(ids: Tensor, probability: Tensor) -> tuple[Tensor, Tensor]:
    """Average the rows that share an id: the distinct ids, rising, and one row for each."""
    unique, place, counts = torch.unique(ids, return_inverse=True, return_counts=True)
    total = probability.new_zeros(len(unique), probability.shape[1]).index_add_(0, place, probability)
    return unique, total / counts[:, None]


def _first(ids: Tensor) -> Tensor:
    """Where each distinct id stands first (outputs come sorted by id)."""
    counts: Tensor = torch.unique_consecutive(ids, return_counts=True)[1]
    return counts.cumsum(0) - counts
