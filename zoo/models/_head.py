"""The contract of a detector's heads.

    class MyHead(Head):
        name = "mine"
        needs = ("keypoints",)                       # fields of `Instances` that it learns from
        resolution = 7                               # regions are pooled to 7 x 7
        def layers(self, channels, num_classes): ... # name -> module
        def run(self, layers, pooled, regions): ...  # their outputs; by default each reads those of the one before
        def loss(self, outputs, regions): ...        # a scalar, from outputs and the object of each region
        def results(self, outputs, regions): ...     # fields of the detections, image by image
        def metric(self, scoring): ...               # a torchmetrics.Metric of what it finds, if it is scored
        def words(self, found, class_names): ...     # what is said of each object, beside its class

The head of boxes decides which regions there are; every other one reads those of which it decided that they are objects. A head
with `dense = True` reads whole maps instead, each image being one region.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn
from torchvision.ops import MultiScaleRoIAlign

from zoo.common.coco import Scoring as Scoring

if TYPE_CHECKING:
    from torchmetrics import Metric

Size = tuple[int, int]
Detections = dict[str, Tensor]
"""The detections of an image: `boxes`, `labels`, `scores`, and what the heads add, a row for each object; what a dense head
finds is of the whole image."""


@dataclass(frozen=True)
class Regions:
    """The regions that a head reads, image by image: in training the proposals that match an object, else the detections; of
    a dense head each image as one region."""

    boxes: list[Tensor]
    """(R, 4) in pixels of the network's input."""
    labels: list[Tensor]
    """int64 (R,): the class, from 1."""
    objects: Sequence[Mapping[str, Tensor]] = ()
    """In training, the image's `Instances`."""
    matched: Sequence[Tensor] = ()
    """In training, int64 (R,): which object a region matches."""
    offsets: Sequence[Tensor] = ()
    """In training, of the head of boxes: (R, 4), how the object's box differs from the region, as Faster R-CNN encodes it."""
    scores: Sequence[Tensor] = ()
    """In evaluation, (R,): how sure the head of boxes is."""

    def of(self, field: str) -> list[Tensor]:
        """Return a field of the object in each region, (R, ...)."""
        return [objects[field][at] for objects, at in zip(self.objects, self.matched, strict=True)]

    def split(self, values: Tensor) -> list[Tensor]:
        """Split values of all regions, (sum of R, ...), by images."""
        return list(torch.split(values, [len(boxes) for boxes in self.boxes]))

    def of_images(self, chosen: Sequence[int]) -> "Regions":
        """Return the regions of some images."""
        columns: dict[str, Any] = {name: [column[at] for at in chosen] for name, column in vars(self).items() if len(column)}
        return Regions(**{"labels": [], **columns})


class Head:
    """A head predicts something of each region, or of each image. It holds no parameters: its layers belong to the detector,
    by the names `NAME_PART`, torchvision's for the heads that torchvision has. The arguments of its constructor are the
    options that `head_options` sets."""

    name: ClassVar[str]
    """The prefix of its layers and of its loss (`loss_NAME`), and its name in a list of heads."""
    needs: ClassVar[tuple[str, ...]] = ()
    """Fields of `Instances` that it learns from, beside boxes and labels. Images without them teach it nothing, and are not
    scored by its metric. (Processes that train together must agree on whether a step teaches it; else the strategy is
    ddp_find_unused_parameters_true.)"""
    resolution: int = 7
    """Regions are pooled to this many cells a side."""
    maps: ClassVar[tuple[str, ...]] = ()
    """The backbone's maps that it reads; () is all levels of the pyramid. A backbone may make some for heads alone, which find
    no proposals: see `Detector`."""
    dense: ClassVar[bool] = False
    """Whether it reads whole maps, of all images, instead of regions. The fields of its results are then the image's, and are
    called NAME, or NAME_ and a further word."""

    # What it computes

    def pool(self, levels: Sequence[str], sampling_ratio: int) -> nn.Module:
        """(features, boxes, image sizes) -> (R, C, P, P): RoIAlign from the pyramid's level that suits a box's size."""
        pooling: nn.Module = MultiScaleRoIAlign(list(levels), self.resolution, sampling_ratio)
        return pooling

    def layers(self, channels: int, num_classes: int) -> dict[str, nn.Module]:
        """Return the layers by name. `channels` are those of the maps that it reads."""
        raise NotImplementedError

    def run(self, layers: Mapping[str, nn.Module], pooled: Any, regions: Regions) -> Any:
        """Return the outputs of the layers: each reads those of the one before.

        A head that overrides this may let its layers see the truth, which `regions` hold in training.

        Args:
            pooled: (R, channels, P, P), R may be 0; of a dense head its maps by name, (B, channels, h, w), of images that are
                padded alike.
        """
        for layer in layers.values():
            pooled = layer(pooled)
        return pooled

    def loss(self, outputs: Any, regions: Regions) -> Tensor | Mapping[str, Tensor]:
        """Return a scalar, or some by name, each of which is logged as `loss_` and the name. It is called only where there are
        regions."""
        raise NotImplementedError

    def results(self, outputs: Any, regions: Regions) -> list[Detections]:
        """Return fields of the detections, image by image, (R, ...) each, in pixels of the input. R may be 0."""
        raise NotImplementedError

    def enlarged(self, found: Detections, old: Size, new: Size) -> Detections:
        """Return the fields of its own that change where detections are scaled from (h, w) to (H, W); the boxes in `found` are
        scaled already."""
        return {}

    # How it is scored, and what it says

    def metric(self, scoring: Scoring) -> "Metric | None":
        """Return what measures its results on a split: a `torchmetrics.Metric`, or None.

        Its `update(found, truth)` takes two lists of dictionaries, one an image, in the form of torchmetrics'
        `MeanAveragePrecision`, on the CPU. `found` has `boxes` (N, 4) in x0, y0, x1, y1, `labels` from 1, `scores`, and what
        `kept` keeps of the heads' results; `truth` has `boxes`, `labels`, `iscrowd`, `area` and the other fields of
        `Instances`, masks as COCO's run lengths. It is called once, with all images of the split that have what the head
        `needs`. What `compute()` returns, a number or several by name, is logged as NAME, or NAME_ and the name.
        """
        return None

    def kept(self, found: Detections) -> dict[str, Any]:
        """Return what is kept of its results where they are scored or written, by field. What it leaves out is kept as it is;
        what is large should become small: tensors, or plain values by object."""
        return {}

    def words(self, found: Detections, class_names: Sequence[str]) -> list[str]:
        """Return what is said of each object beside its class and score ("" is nothing); of a dense head, what is said of the
        image."""
        return []

    def draw(self, image: Tensor, found: Detections) -> Tensor:
        """Return an image, (3, H, W) uint8, with what the head found on it. Boxes, masks and keypoints are drawn already."""
        return image
