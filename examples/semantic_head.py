"""A dense head: the class of each pixel, from the whole pyramid (Kirillov et al. 2019, "Panoptic feature pyramid networks"),
beside the boxes and masks of the objects.

zoo train examples/semantic_head.py model=mask_rcnn 'model.heads=[box,mask,semantic]'
zoo predict RUN_FOLDER image.png examples/semantic_head.py                        # 7 0.980, 3 0.910; 31 % digits
python examples/semantic_head.py
"""

from collections.abc import Mapping, Sequence
from typing import Any

import lightning
import torch
from pycocotools import mask as run_lengths
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, interpolate, pad
from torchmetrics.classification import MulticlassJaccardIndex

import zoo
from zoo.common import draw
from zoo.data import DigitScenes
from zoo.models import Detections, Head, Regions, Scoring, register_head
from zoo.tasks import DetectionTask

STRIDE, VOID = 4, 255


def painted(masks: Tensor, labels: Tensor) -> Tensor:
    """(N, H, W) masks and their classes -> (H, W) classes, 0 where nothing is."""
    return (masks.long() * labels[:, None, None]).amax(0) if len(labels) else masks.new_zeros(masks.shape[1:]).long()


class PixelOverlap(MulticlassJaccardIndex):
    """The mean intersection over union of the classes, the background among them."""

    def update(self, found: list[dict[str, Any]], truth: list[dict[str, Any]]) -> None:
        for mine, there in zip(found, truth, strict=True):
            masks = [torch.from_numpy(run_lengths.decode(mask)) for mask in there["masks"]]
            shape = (0, *mine["semantic"].shape)
            super().update(mine["semantic"], painted(torch.stack(masks) if masks else torch.zeros(shape), there["labels"]))


@register_head
class SemanticHead(Head):
    name = "semantic"
    needs = ("masks",)
    dense = True

    def layers(self, channels: int, num_classes: int) -> dict[str, nn.Module]:
        smooth = [nn.Conv2d(channels, 64, 3, padding=1), nn.GroupNorm(8, 64), nn.ReLU()]
        return {"smooth": nn.Sequential(*smooth), "predictor": nn.Conv2d(64, num_classes + 1, 1)}

    def run(self, layers: Mapping[str, nn.Module], pooled: Mapping[str, Tensor], regions: Regions) -> Tensor:
        """(B, classes, h, w) at the finest level's size: there the levels are added up."""
        finest = pooled["0"].shape[-2:]
        levels = [interpolate(layers["smooth"](maps), finest, mode="bilinear") for maps in pooled.values()]
        return layers["predictor"](torch.stack(levels).sum(0))

    def loss(self, outputs: Tensor, regions: Regions) -> Tensor:
        height, width = (STRIDE * extent for extent in outputs.shape[-2:])
        truth = [painted(objects["masks"], objects["labels"]) for objects in regions.objects]
        padded = [pad(each, (0, width - each.shape[1], 0, height - each.shape[0]), value=VOID) for each in truth]
        return cross_entropy(outputs, torch.stack(padded)[:, ::STRIDE, ::STRIDE], ignore_index=VOID)

    def results(self, outputs: Tensor, regions: Regions) -> list[Detections]:
        classes = interpolate(outputs, scale_factor=STRIDE, mode="bilinear").argmax(1).to(torch.uint8)
        edges = [boxes[0].long().tolist() for boxes in regions.boxes]  # each image is one region
        return [{"semantic": each[:height, :width]} for each, (_, _, width, height) in zip(classes, edges, strict=True)]

    def enlarged(self, found: Detections, old: tuple[int, int], new: tuple[int, int]) -> Detections:
        return {"semantic": interpolate(found["semantic"][None, None], new)[0, 0]}

    def metric(self, scoring: Scoring) -> PixelOverlap:
        return PixelOverlap(len(scoring.class_names) + 1)

    def words(self, found: Detections, class_names: Sequence[str]) -> list[str]:
        return [f"{100 * (found['semantic'] > 0).float().mean():.0f} % digits"]

    def draw(self, image: Tensor, found: Detections) -> Tensor:
        return draw.overlay(image, found["semantic"])


def main(**limits: Any) -> None:
    light = {"backbone": "resnet18", "norm": "batch", "levels": 3, "channels": 64, "rpn_options": {"anchors": [24, 40, 56, 76]}}
    net = zoo.create_model("mask_rcnn", num_classes=10, heads=["box", "semantic"], **light)
    lightning.Trainer(**{"max_epochs": 3, **limits}).fit(DetectionTask(net), DigitScenes())


if __name__ == "__main__":
    main()
