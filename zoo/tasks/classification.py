"""Classification: of images, of videos by their clips, of anything with one label."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, nll_loss

from zoo.batch import Batch, LabelBatch
from zoo.tasks.base import Answer, MakeOptimizer, MakeScheduler, Records, Task


class ClassificationTask(Task):
    """Cross-entropy on one view in training; at test the probabilities of a sample's views (clips, crops) are averaged.

    Metrics: `accuracy` and `loss` (the mean negative log probability of the label) of samples, after averaging; with
    more than ten classes `accuracy_top5`; with more than one view a sample `view_accuracy`, each view on its own.

    Args:
        num_outputs: number of classes.
        label_smoothing: share of the target spread over all classes (Szegedy et al. 2016, section 7).
    """

    def __init__(
        self,
        net: nn.Module,
        *,
        num_outputs: int,
        optimizer: MakeOptimizer,
        scheduler: MakeScheduler | None,
        mean: Sequence[float],
        std: Sequence[float],
        metric: str = "accuracy",
        mode: str = "max",
        channels_last: bool = False,
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__(
            net,
            optimizer=optimizer,
            scheduler=scheduler,
            mean=mean,
            std=std,
            metric=metric,
            mode=mode,
            channels_last=channels_last,
        )
        self.num_outputs = num_outputs
        self.label_smoothing = label_smoothing

    def losses(self, batch: LabelBatch) -> dict[str, Tensor]:
        scores = self(batch["input"]).float()
        hits = scores.detach().argmax(1) == batch["label"]
        self.log("train/accuracy", hits.float().mean(), prog_bar=True, batch_size=len(hits))
        return {"cross_entropy": cross_entropy(scores, batch["label"], label_smoothing=self.label_smoothing)}

    def predict(self, batch: Batch) -> Tensor:
        """(B, num_outputs): the probabilities of each view's classes."""
        return torch.softmax(self(batch["input"]).float(), dim=1)

    def answer(self, batch: Batch, class_names: Sequence[str], top_k: int) -> Answer:
        """The classes, most probable first."""
        probability = self.predict(batch).mean(0).cpu()
        best = probability.topk(min(top_k, len(class_names)))
        top = [(class_names[at], value) for at, value in zip(best.indices.tolist(), best.values.tolist(), strict=True)]
        return Answer(
            text=", ".join(f"{name} {value:.3f}" for name, value in top),
            fields={"top": [{"class": name, "probability": value} for name, value in top]},
        )

    def records(self, batch: LabelBatch) -> Records:
        kept = {"id": batch["id"], "view": batch["view"], "label": batch["label"]}
        return {**kept, "probability": self.predict(batch)}

    def metrics(self, records: Records) -> dict[str, float]:
        _, probability = join_views(records["id"], records["probability"])
        ids, first = _first(records["id"])
        label = records["label"][first]
        result = {
            "accuracy": _top(probability, label, 1),
            "loss": nll_loss(probability.clamp_min(1e-12).log(), label).item(),
        }
        if self.num_outputs > 10:
            result["accuracy_top5"] = _top(probability, label, 5)
        if len(records["id"]) > len(ids):
            result["view_accuracy"] = _top(records["probability"], records["label"], 1)
        return result


def join_views(ids: Tensor, probability: Tensor) -> tuple[Tensor, Tensor]:
    """Average the rows that share an id: the distinct ids, rising, and one row for each."""
    unique, place, counts = torch.unique(ids, return_inverse=True, return_counts=True)
    total = probability.new_zeros(len(unique), probability.shape[1]).index_add_(0, place, probability)
    return unique, total / counts[:, None]


def _first(ids: Tensor) -> tuple[Tensor, Tensor]:
    """The distinct ids, rising, and where each stands first (records come sorted by id)."""
    unique, counts = torch.unique_consecutive(ids, return_counts=True)
    return unique, counts.cumsum(0) - counts


def _top(probability: Tensor, label: Tensor, k: int) -> float:
    best = probability.topk(k, dim=1).indices
    return (best == label[:, None]).any(1).double().mean().item()
