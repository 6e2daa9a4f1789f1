"""Semantic segmentation: a class for every pixel."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Unpack

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, interpolate

from zoo.batch import VOID, MaskBatch
from zoo.common import draw
from zoo.tasks.base import Optimization, Task
from zoo.tasks.classes import check_classes, outputs_of
from zoo.tasks.gathering import SampleOutputs
from zoo.tasks.metrics import PIXELS, ClassOverlap, Mean, Measure, Overlap
from zoo.tasks.predictions import FilePrediction, a_few, apart


class SegmentationTask(Task):
    """Cross-entropy of every pixel that has a class; void counts for nothing, and a batch of void alone costs 0.

    Metrics come from one confusion matrix over the whole split: those of `zoo.tasks.Overlap`, `loss`, and `iou/CLASS` of each
    class that occurs in the truth or in the prediction.

    Args:
        num_outputs: number of classes, with the background where there is one; None is the network's own.
        class_names: their names, in order; empty: the data's.
        scales: in evaluation, factors on the image's size; the probabilities are averaged.
        flip: in evaluation, average with the mirrored image too.
    """

    target = "semantic"
    available = PIXELS
    default_arguments = Optimization(metric="miou", mode="max", channels_last=True)

    def __init__(
        self,
        net: nn.Module,
        *,
        num_outputs: int | None = None,
        class_names: Sequence[str] = (),
        scales: Sequence[float] = (1.0,),
        flip: bool = False,
        **optimization: Unpack[Optimization],
    ) -> None:
        super().__init__(net, **optimization)
        if not scales or min(scales) <= 0:
            raise ValueError(f"task.scales is {list(scales)}; name at least one factor, each above 0, as [0.75, 1.0, 1.25].")
        self.num_outputs = outputs_of(net) if num_outputs is None else num_outputs
        self.class_names = tuple(class_names)
        self.scales = tuple(scales)
        self.flip = flip

    def adopt(self, data: Any) -> None:
        super().adopt(data)
        check_classes(self, data)

    def losses(self, batch: MaskBatch) -> dict[str, Tensor]:
        scores, mask = self(batch["input"]).float(), batch["mask"].long()
        counted = mask != VOID
        pixels = counted.sum().clamp_min(1)
        hits = (largest(scores.detach()) == mask).sum() / pixels
        self.log("train/pixel_accuracy", hits, prog_bar=True, batch_size=len(mask))
        return {"cross_entropy": cross_entropy(scores, mask, ignore_index=VOID, reduction="sum") / pixels}

    def probability(self, pixels: Tensor, size: Sequence[int]) -> Tensor:
        """uint8 (B, C, h, w) -> the classes' probabilities (B, num_outputs, H, W) at `size`, averaged over scales and
        mirror images."""
        x = self.normalized(pixels)
        parts = []
        for scale in self.scales:
            edges = [max(1, round(extent * scale)) for extent in x.shape[2:]]
            resized = x if scale == 1 else interpolate(x, edges, mode="bilinear", antialias=True, align_corners=False)
            views = [self.net(resized).float()]
            if self.flip:
                views.append(self.net(resized.flip(-1)).float().flip(-1))
            for scores in views:
                if scores.shape[2:] != tuple(size):
                    scores = interpolate(scores, tuple(size), mode="bilinear", align_corners=False)
                parts.append(scores.softmax(1))
        return torch.stack(parts).mean(0)

    def predict(self, batch: MaskBatch) -> Tensor:
        """(B, H, W) uint8: each pixel's most probable class, at the size of the mask, or of the input where there is none."""
        size = batch["mask"].shape[1:] if "mask" in batch else batch["input"].shape[2:]
        return largest(self.probability(batch["input"], size)).to(torch.uint8)

    def sample_outputs(self, batch: MaskBatch) -> SampleOutputs:
        mask = batch["mask"].long()
        probability = self.probability(batch["input"], mask.shape[1:])
        predicted = largest(probability)
        truth = mask.where(mask != VOID, 0)
        nll = -probability.gather(1, truth[:, None])[:, 0].clamp_min(1e-12).log()
        kept: SampleOutputs = {
            "id": batch["id"],
            "view": batch["view"],
            "confusion": confusion(mask, predicted, self.num_outputs),
            "nll": (nll * (mask != VOID)).flatten(1).double().sum(1),
        }
        if self.wanted:  # images may differ in size
            kept |= {"predicted": [*predicted.to(torch.uint8).cpu()], "mask": [*batch["mask"].cpu()]}
        return kept

    def measures(self, outputs: SampleOutputs) -> dict[str, Measure]:
        pixels = outputs["confusion"].sum((1, 2))
        if not pixels.any():
            raise ValueError("Every pixel of the split is void, so there is nothing to score. Look at the masks.")
        return {
            "": (Overlap(self.num_outputs), [(outputs["confusion"],)]),
            "loss": (Mean(), [(outputs["nll"], pixels)]),
            "iou": (ClassOverlap(self.num_outputs), [(outputs["confusion"],)]),
        }

    def pairs(self, outputs: SampleOutputs) -> Iterator[tuple[Tensor, Tensor]]:
        """Classes and classes or void, (1, H, W), image by image."""
        for predicted, mask in zip(outputs["predicted"], outputs["mask"], strict=True):
            yield predicted.long()[None], mask.long()[None]

    def prediction(self, batch: Any, class_names: Sequence[str], top_k: int) -> FilePrediction:
        """An overlay, a picture of class indices, and the classes' shares of the image."""
        mask = (batch["predicted"] if "predicted" in batch else self.predict(batch))[0].cpu()
        share = torch.bincount(mask.flatten().long(), minlength=self.num_outputs) / mask.numel()
        order = share.argsort(descending=True)[: min(top_k, int((share > 0).sum()))].tolist()
        shares = {class_names[at]: share[at].item() for at in order}
        return FilePrediction(
            text=", ".join(f"{name} {value:.3f}" for name, value in shares.items()),
            fields={"shares": shares},
            pictures={
                "overlay": draw.to_pil(draw.overlay(draw.at_size(batch["input"], mask.shape)[0], mask)),
                "classes": draw.index_picture(mask),
            },
        )

    def predictions(self, batches: Sequence[MaskBatch], class_names: Sequence[str], top_k: int) -> list[FilePrediction]:
        several: list[Any] = list(batches)
        masks = apart(several, self.predict, ["mask"], self.net)
        found = [{**batch, "predicted": mask} for batch, mask in zip(several, masks, strict=True)]
        return super().predictions(found, class_names, top_k)

    def draw(self, samples: Sequence[MaskBatch], folder: Path) -> None:
        """`predictions.png`: images, truth and prediction side by side, and where they differ."""
        rows = []
        for batch in a_few(samples):
            predicted, truth = self.predict(batch)[0].cpu(), batch["mask"][0].cpu()
            image = draw.at_size(batch["input"], truth.shape)[0].expand(3, -1, -1)
            wrong = torch.where((predicted != truth) & (truth != VOID), 255, 0).to(torch.uint8).expand(3, -1, -1)
            rows.append([image, draw.colored(truth), draw.colored(predicted), wrong])
        draw.save(draw.sheet(rows, ["image", "truth", "prediction", "wrong"]), folder / "predictions.png")


def largest(scores: Tensor) -> Tensor:
    """(B, C, H, W) -> (B, H, W): which class scores highest. `argmax` gives the same in four times as long on a CPU, where it
    was a quarter of a training step."""
    return scores.max(1).indices


def confusion(truth: Tensor, predicted: Tensor, classes: int) -> Tensor:
    """(B, H, W) and (B, H, W) -> (B, classes, classes) int32: pixels of each true class (rows) given each class (columns);
    void pixels are in none."""
    counted = truth != VOID
    sample = torch.arange(len(truth), device=truth.device)[:, None, None].expand_as(truth)
    cell = (sample * classes + truth) * classes + predicted
    counts = torch.bincount(cell[counted], minlength=len(truth) * classes**2)
    return counts.reshape(-1, classes, classes).int()
