"""A head that writes: three words about each digit, one after the other. In training it reads the true word before each one
(teacher forcing), in evaluation its own.

zoo train examples/caption_head.py model=mask_rcnn 'model.heads=[box,caption]' task.metric=caption
zoo predict RUN_FOLDER image.png examples/caption_head.py                         # 7 0.980 "wide seven leaning left"
python examples/caption_head.py
"""

from collections.abc import Mapping, Sequence
from typing import Any

import lightning
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torchmetrics import MeanMetric
from torchvision.ops import box_iou

import zoo
from zoo.data import DigitScenes
from zoo.models import Detections, Head, Regions, Scoring, register_head
from zoo.tasks import DetectionTask

WORDS = ["narrow", "wide", "leaning left", "leaning right", *"zero one two three four five six seven eight nine".split(), "<"]
LENGTH, START = 3, len(WORDS) - 1


def sentences(objects: Mapping[str, Tensor]) -> Tensor:
    """(N, LENGTH): its shape, which digit, whither its top edge goes down."""
    extent = objects["boxes"][:, 2:] - objects["boxes"][:, :2]
    falls = objects["keypoints"][:, 1, 1] > objects["keypoints"][:, 0, 1]
    return torch.stack([(extent[:, 0] > 0.6 * extent[:, 1]).long(), objects["labels"] + 3, 2 + falls.long()], 1)


def told(regions: Regions) -> Tensor:
    return sentences({field: torch.cat(regions.of(field)) for field in ("boxes", "labels", "keypoints")})


class Said(MeanMetric):
    """The share of words that are right about a digit; one without a box of its own has none right."""

    def update(self, found: list[dict[str, Any]], truth: list[dict[str, Any]]) -> None:
        for mine, there in zip(found, truth, strict=True):
            right = torch.zeros(len(there["boxes"]), LENGTH, dtype=torch.bool)
            if len(mine["boxes"]) and len(right):
                overlap, at = box_iou(there["boxes"], mine["boxes"]).max(1)
                right = (mine["caption"][at] == sentences(there)) & (overlap > 0.5)[:, None]
            super().update(right.float())


@register_head
class CaptionHead(Head):
    name = "caption"
    needs = ("keypoints",)

    def __init__(self, width: int = 64) -> None:
        self.width = width

    def layers(self, channels: int, num_classes: int) -> dict[str, nn.Module]:
        see = [nn.Conv2d(channels, self.width, 3, padding=1), nn.GroupNorm(8, self.width), nn.ReLU(), nn.Flatten()]
        return {
            "eye": nn.Sequential(*see, nn.Linear(self.width * self.resolution**2, self.width), nn.LayerNorm(self.width)),
            "read": nn.Embedding(len(WORDS), self.width),
            "cell": nn.LSTMCell(self.width, self.width),
            "write": nn.Linear(self.width, len(WORDS)),
        }

    def run(self, layers: Mapping[str, nn.Module], pooled: Tensor, regions: Regions) -> Tensor:
        """(R, LENGTH, words)."""
        state, written = (layers["eye"](pooled), pooled.new_zeros(len(pooled), self.width)), []
        word = torch.full((len(pooled),), START, device=pooled.device)
        for at in range(LENGTH):
            state = layers["cell"](layers["read"](word), state)
            written.append(layers["write"](state[0]))
            word = told(regions)[:, at] if regions.objects else written[-1].argmax(1)
        return torch.stack(written, 1)

    def loss(self, outputs: Tensor, regions: Regions) -> Tensor:
        return cross_entropy(outputs.flatten(0, 1), told(regions).flatten())

    def results(self, outputs: Tensor, regions: Regions) -> list[Detections]:
        return [{"caption": words} for words in regions.split(outputs.argmax(2))]

    def metric(self, scoring: Scoring) -> Said:
        return Said()

    def words(self, found: Detections, class_names: Sequence[str]) -> list[str]:
        return [f'"{" ".join(WORDS[word] for word in words)}"' for words in found["caption"].tolist()]


def main(**limits: Any) -> None:
    light = {"backbone": "resnet18", "norm": "batch", "levels": 3, "channels": 64, "rpn_options": {"anchors": [24, 40, 56, 76]}}
    net = zoo.create_model("mask_rcnn", num_classes=10, heads=["box", "caption"], **light)
    lightning.Trainer(**{"max_epochs": 3, **limits}).fit(DetectionTask(net, metric="caption"), DigitScenes())


if __name__ == "__main__":
    main()
