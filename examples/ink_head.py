"""A head on maps of its own: how much of its box does a digit's ink cover? Strokes are thinner than the pyramid's finest
stride, so the backbone makes one map more, at half the image's size, which the proposals are not made of.

zoo train examples/ink_head.py model=ink_rcnn
zoo predict RUN_FOLDER image.png examples/ink_head.py                             # 7 0.980 31 % ink
python examples/ink_head.py
"""

from collections.abc import Sequence
from typing import Any

import lightning
import torch
from torch import Tensor, nn
from torch.nn.functional import l1_loss
from torchmetrics import MeanMetric
from torchvision.ops import box_area, box_iou

import zoo
from zoo.data import DigitScenes
from zoo.models import Detections, Detector, Head, Regions, Scoring, register, register_head
from zoo.tasks import DetectionTask

FINE = 16


class FineBackbone(nn.Module):
    """A pyramid, and beside it a map of few channels and much detail."""

    def __init__(self, pyramid: Any, in_chans: int) -> None:
        super().__init__()
        self.pyramid = pyramid
        self.fine = nn.Sequential(nn.Conv2d(in_chans, FINE, 5, stride=2, padding=2), nn.GroupNorm(4, FINE), nn.ReLU())
        self.out_channels: int = pyramid.out_channels
        self.extra_channels = {"fine": FINE}  # these the heads alone see

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        return {**self.pyramid(images), "fine": self.fine(images)}


class InkError(MeanMetric):
    """By how much the share is wrong; of a digit without a box of its own by all of it."""

    def update(self, found: list[dict[str, Any]], truth: list[dict[str, Any]]) -> None:
        for mine, there in zip(found, truth, strict=True):
            off = share = (there["area"] / box_area(there["boxes"])).float()
            if len(mine["boxes"]) and len(share):
                overlap, at = box_iou(there["boxes"], mine["boxes"]).max(1)
                off = torch.where(overlap > 0.5, (mine["ink"][at] - share).abs(), share)
            super().update(off)


@register_head
class InkHead(Head):
    name = "ink"
    needs = ("masks",)
    resolution = 14
    maps = ("fine",)

    def layers(self, channels: int, num_classes: int) -> dict[str, nn.Module]:
        see = [nn.Conv2d(channels, 32, 3, stride=2, padding=1), nn.GroupNorm(4, 32), nn.ReLU(), nn.AdaptiveAvgPool2d(1)]
        return {"head": nn.Sequential(*see, nn.Flatten()), "predictor": nn.Sequential(nn.Linear(32, 1), nn.Sigmoid())}

    def loss(self, outputs: Tensor, regions: Regions) -> Tensor:
        area = torch.cat([masks.flatten(1).sum(1) for masks in regions.of("masks")])
        return l1_loss(outputs[:, 0], area / box_area(torch.cat(regions.of("boxes"))))

    def results(self, outputs: Tensor, regions: Regions) -> list[Detections]:
        return [{"ink": share} for share in regions.split(outputs[:, 0])]

    def metric(self, scoring: Scoring) -> InkError:
        return InkError()

    def words(self, found: Detections, class_names: Sequence[str]) -> list[str]:
        return [f"{100 * share:.0f} % ink" for share in found["ink"].tolist()]


@register
def ink_rcnn(num_classes: int = 10, in_chans: int = 3, channels: int = 64) -> Detector:
    """Boxes of objects, and how much of each its ink covers."""
    first = {"anchors": [24, 40, 56, 76], "train_proposals": 300, "proposals": 100}
    light: dict[str, Any] = {"rpn_options": first, "head_options": {"box": {"width": 256, "regions": 48}}, "levels": 3}
    whole = zoo.create_model("faster_rcnn", in_chans=in_chans, backbone="resnet18", norm="batch", channels=channels, **light)
    backbone = FineBackbone(whole.backbone, in_chans)
    net = zoo.create_model("mask_rcnn", num_classes=num_classes, heads=["box", "ink"], backbone=backbone, **light)
    assert isinstance(net, Detector)
    return net


def main(**limits: Any) -> None:
    trainer = lightning.Trainer(**{"max_epochs": 3, **limits})
    trainer.fit(DetectionTask(zoo.create_model("ink_rcnn")), DigitScenes())


if __name__ == "__main__":
    main()
