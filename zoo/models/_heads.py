"""Heads of a detector: their contract, and their registry."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, TypeVar

import torch
from torch import Tensor, nn
from torchvision.ops import MultiScaleRoIAlign

Size = tuple[int, int]
Detections = dict[str, Tensor]
"""The detections of an image: `boxes`, `labels`, `scores`, and what the heads add."""


@dataclass(frozen=True)
class Regions:
    """The regions that the heads read, image by image: in training the proposals that match an object, else the detections."""

    boxes: list[Tensor]
    """(R, 4) in pixels of the network's input."""
    labels: list[Tensor]
    """int64 (R,): the class, from 1."""
    objects: Sequence[Mapping[str, Tensor]] = ()
    """In training, the image's `Instances`."""
    matched: Sequence[Tensor] = ()
    """In training, int64 (R,): which object a region matches."""

    def of(self, field: str) -> list[Tensor]:
        """Return a field of the object in each region, (R, ...)."""
        return [objects[field][at] for objects, at in zip(self.objects, self.matched, strict=True)]

    def split(self, values: Tensor) -> list[Tensor]:
        """Split values of all regions, (sum of R, ...), by images."""
        return list(torch.split(values, [len(boxes) for boxes in self.boxes]))


class Head:
    """A head predicts something of each region besides its box. It holds no parameters: its layers belong to the detector, by
    the names `NAME_PART`, torchvision's for the heads that torchvision has."""

    name: ClassVar[str]
    """The prefix of its layers and of its loss (`loss_NAME`), and its name in a list of heads."""
    needs: ClassVar[tuple[str, ...]] = ()
    """Fields of `Instances` that it learns from, beside boxes and labels."""
    resolution: int = 7
    """Regions are pooled to this many cells a side."""

    def pool(self, levels: Sequence[str], sampling_ratio: int) -> nn.Module:
        """(features, boxes, image sizes) -> (R, C, P, P): RoIAlign from the pyramid's level that suits a box's size."""
        pooling: nn.Module = MultiScaleRoIAlign(list(levels), self.resolution, sampling_ratio)
        return pooling

    def layers(self, channels: int, num_classes: int) -> dict[str, nn.Module]:
        """Return the layers by name; each reads the output of the one before, the first (R, channels, P, P)."""
        raise NotImplementedError

    def loss(self, outputs: Tensor, regions: Regions) -> Tensor:
        """Return a scalar. It is called only where there are regions."""
        raise NotImplementedError

    def results(self, outputs: Tensor, regions: Regions) -> list[Detections]:
        """Return fields of the detections, image by image, (R, ...) each, in pixels of the input. R may be 0."""
        raise NotImplementedError

    def enlarged(self, found: Detections, old: Size, new: Size) -> Detections:
        """Return the fields of its own that change where detections are scaled from (h, w) to (H, W); the boxes in `found` are
        scaled already."""
        return {}


SomeHead = TypeVar("SomeHead", bound=Head)

HEADS: dict[str, type[Head]] = {}
"""Registered heads by name, for `heads` in a YAML or on a command line."""
BUILT_IN = ("box", "mask", "keypoint")


def register_head(head: type[SomeHead]) -> type[SomeHead]:
    """Register a head by its `name`, so that `heads` can name it, in a YAML and on a command line too. It is built without
    arguments.

    Raises:
        ValueError: it has no name, or another head has the name.
    """
    name = getattr(head, "name", None)
    if not isinstance(name, str) or not name.isidentifier():
        raise ValueError(f'The head {head.__qualname__} is named {name!r}. Give it a name, a plain word: name = "mine".')
    known = HEADS.get(name)
    there = f"{known.__module__}.{known.__qualname__}" if known else name
    if name in BUILT_IN or (known and there != f"{head.__module__}.{head.__qualname__}"):
        raise ValueError(f"There is a head {name} already, so {head.__qualname__} cannot be registered. Give it another name.")
    HEADS[name] = head
    return head
