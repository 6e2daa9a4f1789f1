"""The heads of Faster R-CNN, Mask R-CNN and its keypoints, with torchvision's layers."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.keypoint_rcnn import KeypointRCNNHeads, KeypointRCNNPredictor
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor
from torchvision.models.detection.roi_heads import (
    fastrcnn_loss,
    keypointrcnn_inference,
    keypointrcnn_loss,
    maskrcnn_inference,
    maskrcnn_loss,
    paste_masks_in_image,
)
from torchvision.models.detection.transform import resize_boxes, resize_keypoints

from zoo.common.coco import Scoring
from zoo.models._head import Detections, Head, Regions, Size

if TYPE_CHECKING:
    from zoo.common.coco_metric import CocoMetric


class _CocoHead(Head):
    """A head that COCO's figures measure."""

    def metric(self, scoring: Scoring) -> "CocoMetric":
        from zoo.common.coco_metric import CocoMetric

        return CocoMetric(self.name, scoring)


class BoxHead(_CocoHead):
    """Of each proposal its class, or that it is none, and a better box (Ren et al. 2015). It decides which regions there are,
    and every detector has it, before all others.

    Its results: `boxes`, (R, 4), `labels` and `scores`, (R,).

    Args:
        width: of its two layers.
        regions: of the proposals, how many a training image teaches the heads with; at most a quarter are objects.
        detections: in an image, at most.
        score_threshold: what scores less is not an object.
        sampling_ratio: points a side at which a map is read for each cell of a pooled region, of this head and of the others,
            and averaged.
    """

    name = "box"
    resolution = 7

    def __init__(
        self,
        width: int = 1024,
        regions: int = 512,
        detections: int = 100,
        score_threshold: float = 0.05,
        sampling_ratio: int = 2,
    ) -> None:
        self.width = width
        self.regions = regions
        self.detections = detections
        self.score_threshold = score_threshold
        self.sampling_ratio = sampling_ratio

    def layers(self, channels: int, num_classes: int) -> dict[str, nn.Module]:
        return {
            "head": TwoMLPHead(channels * self.resolution**2, self.width),
            "predictor": FastRCNNPredictor(self.width, num_classes + 1),  # the first is the background
        }

    def loss(self, outputs: Any, regions: Regions) -> Mapping[str, Tensor]:
        classifier, box = fastrcnn_loss(*outputs, regions.labels, regions.offsets)
        return {"classifier": classifier, "box_reg": box}

    def results(self, outputs: Any, regions: Regions) -> list[Detections]:
        columns = zip(regions.boxes, regions.labels, regions.scores, strict=True)
        return [{"boxes": boxes, "labels": labels, "scores": scores} for boxes, labels, scores in columns]

    def enlarged(self, found: Detections, old: Size, new: Size) -> Detections:
        return {"boxes": resize_boxes(found["boxes"], old, new)}


class MaskHead(_CocoHead):
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

    def kept(self, found: Detections) -> dict[str, Any]:
        from zoo.common.coco import run_lengths

        masks = (found["masks"][:, 0] > 0.5).to(torch.uint8).cpu().numpy()  # 1 where it is more likely than not
        return {"masks": [run_lengths(mask) for mask in masks]}


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


class KeypointHead(_CocoHead):
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
