"""Faster R-CNN (Ren et al. 2015), Mask R-CNN and its keypoints (He et al. 2017), on feature pyramids (Lin et al. 2017): one
detector with heads per region; torchvision's layers and names, so that its weights load.

`heads` are names, `[box, mask, keypoint]`, or in Python also objects of `Head`, those of one's own among them.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn
from torchvision.models.detection.keypoint_rcnn import KeypointRCNNHeads, KeypointRCNNPredictor
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor
from torchvision.models.detection.roi_heads import (
    keypointrcnn_inference,
    keypointrcnn_loss,
    maskrcnn_inference,
    maskrcnn_loss,
    paste_masks_in_image,
)
from torchvision.models.detection.transform import resize_keypoints

from zoo.common.words import nearest
from zoo.models._detector import Detector
from zoo.models._heads import HEADS, Detections, Head, Regions, Size
from zoo.models._pyramid import Norm, pyramid
from zoo.models._registry import variant

BOX = "box"
"""The head that every detector has: it decides which regions there are."""


class MaskHead(Head):
    """A mask of 28 x 28 for each class, of which the box's class is taken (He et al. 2017, section 3, figure 4).

    Its results: `masks`, (R, 1, H, W), the probability of each pixel, at the size of the image.

    Args:
        widths: of its convolutions; the transposed one after them has the last width.
    """

    name = "mask"
    needs: ClassVar[tuple[str, ...]] = ("masks",)
    resolution = 14

    def __init__(self, widths: Sequence[int] = (256, 256, 256, 256)) -> None:
        self.widths = tuple(widths)

    def layers(self, channels: int, num_classes: int) -> dict[str, nn.Module]:
        return {
            "head": MaskRCNNHeads(channels, self.widths, dilation=1),
            "predictor": MaskRCNNPredictor(self.widths[-1], self.widths[-1], num_classes + 1),  # the background has one too
        }

    def loss(self, outputs: Tensor, regions: Regions) -> Tensor:
        masks, labels = ([objects[field] for objects in regions.objects] for field in ("masks", "labels"))
        loss: Tensor = maskrcnn_loss(outputs, regions.boxes, masks, labels, list(regions.matched))
        return loss

    def results(self, outputs: Tensor, regions: Regions) -> list[Detections]:
        return [{"masks": masks} for masks in maskrcnn_inference(outputs, regions.labels)]

    def enlarged(self, found: Detections, old: Size, new: Size) -> Detections:
        return {"masks": paste_masks_in_image(found["masks"], found["boxes"], new)}


def _around(boxes: Sequence[Tensor], margin: float) -> list[Tensor]:
    """Grow boxes, (R, 4) each, by `margin` of their width left and right, and of their height above and below."""
    grown = []
    for box in boxes:
        extra = margin * (box[:, 2:] - box[:, :2])
        grown.append(torch.cat([box[:, :2] - extra, box[:, 2:] + extra], 1))
    return grown


class _PoolAround(nn.Module):
    """Pool regions with some of their surroundings."""

    def __init__(self, pooling: nn.Module, margin: float) -> None:
        super().__init__()
        self.pooling = pooling
        self.margin = margin

    def forward(self, features: Mapping[str, Tensor], boxes: list[Tensor], sizes: list[Size]) -> Tensor:
        pooled: Tensor = self.pooling(features, _around(boxes, self.margin), sizes)
        return pooled


class KeypointHead(Head):
    """Each keypoint a map of 56 x 56 with one cell that is right, a softmax over the cells (He et al. 2017, section 5).

    Its results: `keypoints`, (R, K, 3) with x, y and 1, and `keypoints_scores`, (R, K), before the softmax.

    Args:
        num_keypoints: K, the same for every class.
        widths: of its convolutions.
        margin: what is added to a box on each side, as a share of it: a keypoint beyond the map is neither learned nor found.
            The paper's people hold their keypoints inside their boxes; 0 is the paper's.
    """

    name = "keypoint"
    needs: ClassVar[tuple[str, ...]] = ("keypoints",)
    resolution = 14

    def __init__(self, num_keypoints: int = 17, widths: Sequence[int] = (512,) * 8, margin: float = 0.0) -> None:
        if num_keypoints < 1:
            raise ValueError("The keypoint head has no keypoints to learn. Drop it from model.heads, or choose another data=.")
        if margin < 0:
            raise ValueError(f"The keypoint head's margin is {margin}; it must be 0 or more.")
        self.num_keypoints = num_keypoints
        self.widths = tuple(widths)
        self.margin = margin

    def pool(self, levels: Sequence[str], sampling_ratio: int) -> nn.Module:
        return _PoolAround(super().pool(levels, sampling_ratio), self.margin)

    def layers(self, channels: int, num_classes: int) -> dict[str, nn.Module]:
        return {
            "head": KeypointRCNNHeads(channels, self.widths),
            "predictor": KeypointRCNNPredictor(self.widths[-1], self.num_keypoints),
        }

    def loss(self, outputs: Tensor, regions: Regions) -> Tensor:
        keypoints = [objects["keypoints"] for objects in regions.objects]
        around = _around(regions.boxes, self.margin)
        # torchvision views the outputs in the order of their axes, which channels_last is not.
        loss: Tensor = keypointrcnn_loss(outputs.contiguous(), around, keypoints, list(regions.matched))
        return loss

    def results(self, outputs: Tensor, regions: Regions) -> list[Detections]:
        places, scores = keypointrcnn_inference(outputs, _around(regions.boxes, self.margin))
        return [{"keypoints": place, "keypoints_scores": score} for place, score in zip(places, scores, strict=True)]

    def enlarged(self, found: Detections, old: Size, new: Size) -> Detections:
        return {"keypoints": resize_keypoints(found["keypoints"], old, new)}


def _chosen(
    heads: Sequence[str | Head],
    mask_widths: Sequence[int],
    keypoint_widths: Sequence[int],
    keypoint_margin: float,
    num_keypoints: int,
) -> list[Head]:
    """Build the heads besides the box head. Raises ValueError: an unknown name, one twice, or no box head."""
    makers: dict[str, Callable[[], Head]] = {
        "mask": lambda: MaskHead(mask_widths),
        "keypoint": lambda: KeypointHead(num_keypoints, keypoint_widths, keypoint_margin),
        **HEADS,
    }
    names = [head if isinstance(head, str) else head.name for head in heads]
    if not names or names[0] != BOX or len(set(names)) < len(names):
        raise ValueError(f"model.heads is {names}; it must begin with box, which finds the regions, and name each head once.")
    for head in heads[1:]:
        if isinstance(head, str) and head not in makers:
            raise ValueError(f"There is no head {head!r}; {nearest(head, [BOX, *makers])}")
    return [makers[head]() if isinstance(head, str) else head for head in heads[1:]]


def _rcnn(
    _: str,
    num_classes: int = 90,
    in_chans: int = 3,
    heads: Sequence[str | Head] = (BOX, "mask"),
    backbone: str | nn.Module = "resnet50",
    backbone_weights: str | None = None,
    levels: int = 4,
    trained: int | None = None,
    norm: Norm = "frozen",
    norm_eps: float | None = None,
    channels: int = 256,
    anchors: Sequence[int] = (32, 64, 128, 256, 512),
    ratios: Sequence[float] = (0.5, 1.0, 2.0),
    train_proposals: int = 2000,
    proposals: int = 1000,
    regions: int = 512,
    detections: int = 100,
    score_threshold: float = 0.05,
    sampling_ratio: int = 2,
    box_width: int = 1024,
    mask_widths: Sequence[int] = (256, 256, 256, 256),
    keypoint_widths: Sequence[int] = (512,) * 8,
    keypoint_margin: float = 0.0,
    num_keypoints: int = 17,
) -> Detector:
    """Mask R-CNN on a feature pyramid: boxes and masks; any other union of heads by `heads`.

    Classes are COCO's category ids, the background not counted; torchvision's COCO weights have 90 of them, and those with
    the tag COCO_V1 were trained with norm_eps=0.

    Args:
        num_classes: without the background.
        heads: "box", then names ("mask", "keypoint", those of `zoo.models.register_head`) or objects of `zoo.models.Head`.
        backbone: a 2-D network by name (zoo's, else torchvision's, else timm/NAME), or one, which is copied.
        backbone_weights: tag or file of weights that a backbone by name starts from.
        levels: how many strides from 4 on the pyramid has, of each the backbone's deepest map.
        trained: how many levels' layers of the backbone train, from the deepest; the stem belongs to the first. None is all.
        norm: "frozen" makes BatchNorm a fixed scale and shift, "batch" leaves it to train.
        norm_eps: of BatchNorm, where it is not the backbone's own.
        channels: of every level.
        anchors: edge of the anchors on each level, one more than `levels`: the last is for the pooled level.
        ratios: height to width of the anchors.
        train_proposals: regions that go on from the first stage to the second in training.
        proposals: the same in evaluation.
        regions: of the proposals, how many a training image teaches the heads with; at most a quarter are objects.
        detections: in an image, at most.
        score_threshold: what scores less is not an object.
        sampling_ratio: points a side at which a map is read for each cell of a pooled region, and averaged.
        box_width: of the box head's two layers.
        mask_widths: of the mask head's convolutions.
        keypoint_widths: of the keypoint head's.
        keypoint_margin: what is added to a box on each side where keypoints are looked for, as a share of it.
        num_keypoints: the same for every class.
    """
    chosen = _chosen(heads, mask_widths, keypoint_widths, keypoint_margin, num_keypoints)
    levelled = pyramid(backbone, in_chans, levels, channels, trained, norm, norm_eps, backbone_weights)
    return Detector(
        levelled,
        chosen,
        num_classes=num_classes,
        levels=levels,
        anchors=anchors,
        ratios=ratios,
        train_proposals=train_proposals,
        proposals=proposals,
        regions=regions,
        detections=detections,
        score_threshold=score_threshold,
        sampling_ratio=sampling_ratio,
        box_width=box_width,
    )


mask_rcnn = variant(_rcnn, "mask_rcnn")
faster_rcnn = variant(
    _rcnn,
    "faster_rcnn",
    "Faster R-CNN on a feature pyramid: boxes with classes. Arguments as of `mask_rcnn`.",
    without=["heads", "mask_widths", "keypoint_widths", "keypoint_margin", "num_keypoints"],
    heads=(BOX,),
)
keypoint_rcnn = variant(
    _rcnn,
    "keypoint_rcnn",
    """Mask R-CNN's keypoints: boxes and, in each, the places of its keypoints; COCO's persons have 17.

    Arguments as of `mask_rcnn`.
    """,
    num_classes=1,
    heads=(BOX, "keypoint"),
)
