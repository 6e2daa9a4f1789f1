"""A head of one's own: by how many degrees is each digit turned? The detector knows nothing of it.

zoo train examples/angle_head.py model=mask_rcnn 'model.heads=[box,mask,angle]'   # Mask R-CNN with one head more
zoo evaluate RUN_FOLDER examples/angle_head.py
python examples/angle_head.py                                                     # boxes and angles, by a plain Trainer
"""

from typing import Any

import lightning
import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss, normalize

import zoo
from zoo.data import DigitScenes
from zoo.models import Detections, Head, Regions, register_head
from zoo.tasks import DetectionTask


def directions(keypoints: Tensor) -> Tensor:
    """(R, 4, 3) corners of upright digits, turned with them -> (R, 2): where their top edge points, of length 1."""
    return normalize(keypoints[:, 1, :2] - keypoints[:, 0, :2])


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
        degrees = torch.rad2deg(torch.atan2(outputs[:, 1], outputs[:, 0]))
        return [{"angle": angle} for angle in regions.split(degrees)]


def main(**limits: Any) -> None:
    light = {"backbone": "resnet18", "norm": "batch", "levels": 3, "channels": 64}
    net = zoo.create_model(
        "mask_rcnn", num_classes=10, heads=["box", "angle"], rpn_options={"anchors": [24, 40, 56, 76]}, **light
    )
    trainer = lightning.Trainer(**{"max_epochs": 3, **limits})
    trainer.fit(DetectionTask(net), DigitScenes())


if __name__ == "__main__":
    main()
