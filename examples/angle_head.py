"""A head of one's own: by how many degrees is each digit turned? The detector knows nothing of it.

    python examples/angle_head.py [key=value ...]

trains Mask R-CNN with one head more: the settings are those of `python -m zoo.train`.
"""

import sys

import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss, normalize

from zoo.cli import launch
from zoo.models import Found, Head, Regions, register_head
from zoo.train import train


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

    def results(self, outputs: Tensor, regions: Regions) -> list[Found]:
        degrees = torch.rad2deg(torch.atan2(outputs[:, 1], outputs[:, 0]))
        return [{"angle": angle} for angle in regions.split(degrees)]


if __name__ == "__main__":
    launch(train, ["model=mask_rcnn", "model.heads=[box,mask,angle]", *sys.argv[1:]])
