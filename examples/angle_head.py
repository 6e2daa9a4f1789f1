"""A head of one's own: by how many degrees is each digit turned? The detector knows nothing of it.

zoo train examples/angle_head.py model=mask_rcnn 'model.heads=[box,mask,angle]'   # Mask R-CNN with one head more
zoo evaluate RUN_FOLDER examples/angle_head.py                                     # scores it too: test angle 12.3
zoo predict RUN_FOLDER image.png examples/angle_head.py                            # 7 0.980 turned 32°
python examples/angle_head.py                                                     # boxes and angles, by a plain Trainer
"""

from collections.abc import Sequence
from typing import Any

import lightning
import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss, normalize
from torchmetrics import MeanMetric
from torchvision.ops import box_iou

import zoo
from zoo.data import DigitScenes
from zoo.models import Detections, Head, Regions, Scoring, register_head
from zoo.tasks import DetectionTask


def directions(keypoints: Tensor) -> Tensor:
    """(R, 4, 3) corners of upright digits, turned with them -> (R, 2): where their top edge points, of length 1."""
    return normalize(keypoints[:, 1, :2] - keypoints[:, 0, :2])


def degrees(direction: Tensor) -> Tensor:
    return torch.rad2deg(torch.atan2(direction[:, 1], direction[:, 0]))


class AngleError(MeanMetric):
    """By how many degrees the box that overlaps a digit most is wrong; of a digit without one by 90, as by chance."""

    def update(self, found: list[dict[str, Any]], truth: list[dict[str, Any]]) -> None:
        for mine, there in zip(found, truth, strict=True):
            off = torch.full((len(there["boxes"]),), 90.0)
            if len(mine["boxes"]) and len(off):
                overlap, at = box_iou(there["boxes"], mine["boxes"]).max(1)
                turn = mine["angle"][at] - degrees(directions(there["keypoints"]))
                off = torch.where(overlap > 0.5, ((turn + 180) % 360 - 180).abs(), off)
            super().update(off)


@register_head  # from here on a head's name as any other
class AngleHead(Head):
    """Two numbers a region, the cosine and the sine of the angle: an angle itself would jump from 180 to -180."""

    name = "angle"
    needs = ("keypoints",)
    resolution = 7

    def layers(self, channels: int, num_classes: int) -> dict[str, nn.Module]:
        cells = channels * self.resolution**2
        return {"head": nn.Sequential(nn.Flatten(), nn.Linear(cells, 256), nn.ReLU()), "predictor": nn.Linear(256, 2)}

    def loss(self, outputs: Tensor, regions: Regions) -> Tensor:
        return mse_loss(outputs, directions(torch.cat(regions.of("keypoints"))))

    def results(self, outputs: Tensor, regions: Regions) -> list[Detections]:
        return [{"angle": angle} for angle in regions.split(degrees(outputs))]

    def metric(self, scoring: Scoring) -> AngleError:
        return AngleError()

    def words(self, found: Detections, class_names: Sequence[str]) -> list[str]:
        return [f"turned {angle:.0f}°" for angle in found["angle"].tolist()]


def main(**limits: Any) -> None:
    light = {"backbone": "resnet18", "norm": "batch", "levels": 3, "channels": 64, "rpn_options": {"anchors": [24, 40, 56, 76]}}
    net = zoo.create_model("mask_rcnn", num_classes=10, heads=["box", "angle"], **light)
    lightning.Trainer(**{"max_epochs": 3, **limits}).fit(DetectionTask(net), DigitScenes())


if __name__ == "__main__":
    main()
