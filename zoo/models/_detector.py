"""One detector, any head per region: torchvision's generalized R-CNN with an open place for heads.

    class MyHead(Head):
        name = "mine"
        needs = ("keypoints",)                       # fields of `Instances` that it learns from
        resolution = 7                               # regions are pooled to 7 x 7
        def layers(self, channels, num_classes): ... # name -> module, applied in this order
        def loss(self, outputs, regions): ...        # a scalar, from outputs and the object of each region
        def results(self, outputs, regions): ...     # fields of the detections, image by image

The box head is the detector's own: it decides which regions there are. Every other head looks at the regions of which it
decided that they are objects. (Ren et al. 2015, "Faster R-CNN"; He et al. 2017, "Mask R-CNN", section 3.)
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import pad
from torchvision.models.detection import roi_heads
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.generalized_rcnn import GeneralizedRCNN
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.rpn import RegionProposalNetwork, RPNHead
from torchvision.models.detection.transform import resize_boxes
from torchvision.ops import MultiScaleRoIAlign

from zoo.models._heads import Detections, Head, Regions, Size

_DIVISOR = 32
"""Batches are padded to a multiple of this, as torchvision pads them."""


def canvas(sizes: Sequence[Size]) -> Size:
    """Return (H, W) of the batch that holds images of these sizes."""
    height, width = (_DIVISOR * math.ceil(max(extents) / _DIVISOR) for extents in zip(*sizes, strict=True))
    return height, width


class RoIHeads(roi_heads.RoIHeads):  # type: ignore[misc]  # torchvision ships no types
    """torchvision's box head, sampling of regions and non-maximum suppression; then any other heads."""

    def __init__(
        self,
        heads: Sequence[Head],
        num_classes: int,
        levels: Sequence[str],
        channels: int,
        sampling_ratio: int,
        box_width: int,
        *,
        batch_size_per_image: int,
        score_thresh: float,
        detections_per_img: int,
    ) -> None:
        super().__init__(
            box_roi_pool=MultiScaleRoIAlign(list(levels), 7, sampling_ratio),
            box_head=TwoMLPHead(channels * 7**2, box_width),
            box_predictor=FastRCNNPredictor(box_width, num_classes + 1),  # the first is the background
            fg_iou_thresh=0.5,
            bg_iou_thresh=0.5,
            batch_size_per_image=batch_size_per_image,
            positive_fraction=0.25,
            bbox_reg_weights=None,
            score_thresh=score_thresh,
            nms_thresh=0.5,
            detections_per_img=detections_per_img,
        )
        self.heads = tuple(heads)
        self.parts: dict[str, list[str]] = {}
        """Head -> the names of its layers here, in order."""
        for head in self.heads:
            layers = {f"{head.name}_{part}": layer for part, layer in head.layers(channels, num_classes).items()}
            self.parts[head.name] = list(layers)
            for key, layer in {f"{head.name}_roi_pool": head.pool(levels, sampling_ratio), **layers}.items():
                setattr(self, key, layer)

    def forward(
        self,
        features: Mapping[str, Tensor],
        proposals: list[Tensor],
        sizes: list[Size],
        targets: list[dict[str, Tensor]] | None = None,
    ) -> tuple[list[Detections], dict[str, Tensor]]:
        """Return the detections (in evaluation) and the losses by name (in training)."""
        matched: list[Tensor] = []
        labels: list[Tensor] = []
        offsets: list[Tensor] = []
        if self.training:
            proposals, matched, labels, offsets = self.select_training_samples(proposals, targets)
        # The poolers take the scale of each level from the first sizes that they see, for good: an image's own, to which a map
        # is not in proportion where much of it is padding, would leave every later region misplaced.
        whole = [canvas(sizes)]
        scores, deltas = self.box_predictor(self.box_head(self.box_roi_pool(features, proposals, whole)))
        detections: list[Detections] = []
        losses: dict[str, Tensor] = {}
        if self.training:
            assert targets is not None
            classifier, box = roi_heads.fastrcnn_loss(scores, deltas, labels, offsets)
            losses = {"loss_classifier": classifier, "loss_box_reg": box}
            objects = [torch.where(label > 0)[0] for label in labels]

            def of_objects(values: list[Tensor]) -> list[Tensor]:
                return [value[at] for value, at in zip(values, objects, strict=True)]

            regions = Regions(of_objects(proposals), of_objects(labels), targets, of_objects(matched))
        else:
            boxes, confidence, labels = self.postprocess_detections(scores, deltas, proposals, sizes)
            regions = Regions(boxes, labels)
            columns = zip(boxes, labels, confidence, strict=True)
            detections = [{"boxes": box, "labels": label, "scores": score} for box, label, score in columns]
        for head in self.heads:
            outputs = self.get_submodule(f"{head.name}_roi_pool")(features, regions.boxes, whole)
            for part in self.parts[head.name]:
                outputs = self.get_submodule(part)(outputs)
            if self.training:
                # Without a region there is nothing to learn, but the layers must take part in the backward pass.
                losses[f"loss_{head.name}"] = head.loss(outputs, regions) if len(outputs) else outputs.sum()
            else:
                for image, fields in zip(detections, head.results(outputs, regions), strict=True):
                    image.update(fields)
        return detections, losses


class PaddingTransform(nn.Module):
    """Pad images of several sizes into one tensor, and scale the detections back."""

    def __init__(self, heads: Sequence[Head]) -> None:
        super().__init__()
        self.heads = tuple(heads)

    def forward(self, images: Sequence[Tensor]) -> ImageList:
        """(C, h, w) each -> one batch, zeros (the mean color) beyond each image's edge."""
        sizes = [(image.shape[-2], image.shape[-1]) for image in images]
        height, width = canvas(sizes)
        padded = [pad(image, (0, width - w, 0, height - h)) for image, (h, w) in zip(images, sizes, strict=True)]
        return ImageList(torch.stack(padded), sizes)

    def postprocess(self, detections: list[Detections], old: Sequence[Size], new: Sequence[Size]) -> list[Detections]:
        """Scale the detections to pixels of the sizes asked for."""
        for image, before, after in zip(detections, old, new, strict=True):
            image["boxes"] = resize_boxes(image["boxes"], before, after)
            for head in self.heads:
                image.update(head.enlarged(image, before, after))
        return detections


class Detector(GeneralizedRCNN):  # type: ignore[misc]  # torchvision ships no types
    """Backbone, region proposals, heads. Tensors have torchvision's names; images come normalized and scaled.

    Args:
        backbone: images -> maps by level, with the attribute `out_channels`.
        heads: those besides the box head.
        num_classes: without the background.
        levels: of the pyramid from which regions are pooled.
        train_proposals: regions that the first stage keeps in training, after the non-maximum suppression; it keeps as many of
            each level before.

    The other arguments are those of `zoo.models.rcnn.mask_rcnn`.
    """

    def __init__(
        self,
        backbone: nn.Module,
        heads: Sequence[Head],
        *,
        num_classes: int,
        levels: int,
        anchors: Sequence[int],
        ratios: Sequence[float],
        train_proposals: int,
        proposals: int,
        regions: int,
        detections: int,
        score_threshold: float,
        sampling_ratio: int,
        box_width: int,
    ) -> None:
        if num_classes < 1:
            raise ValueError(f"num_classes is {num_classes}; a detector has at least 1, and the background is not counted.")
        if len(anchors) != levels + 1:
            raise ValueError(
                f"model.anchors names {len(anchors)} edges, but there are {levels} levels and a pooled one: give {levels + 1}."
            )
        channels = int(backbone.out_channels)  # type: ignore[arg-type]
        generator = AnchorGenerator(tuple((edge,) for edge in anchors), (tuple(ratios),) * len(anchors))
        kept = {"training": train_proposals, "testing": proposals}
        super().__init__(
            backbone,
            RegionProposalNetwork(
                generator,
                RPNHead(channels, generator.num_anchors_per_location()[0]),
                fg_iou_thresh=0.7,
                bg_iou_thresh=0.3,
                batch_size_per_image=256,
                positive_fraction=0.5,
                pre_nms_top_n=kept,
                post_nms_top_n=kept,
                nms_thresh=0.7,
            ),
            RoIHeads(
                heads,
                num_classes,
                [str(level) for level in range(levels)],
                channels,
                sampling_ratio,
                box_width,
                batch_size_per_image=regions,
                score_thresh=score_threshold,
                detections_per_img=detections,
            ),
            PaddingTransform(heads),
        )
        self.heads = tuple(heads)
        self.num_classes = num_classes
        # How the files of torchvision's first COCO weights call tensors that have had other names since.
        fpn = [f"backbone.fpn.{row}_blocks.{level}." for row in ("inner", "layer") for level in range(levels)]
        self.renames = {
            **{f"{place}{kind}": f"{place}0.{kind}" for place in fpn for kind in ("weight", "bias")},
            **{f"rpn.head.conv.{kind}": f"rpn.head.conv.0.0.{kind}" for kind in ("weight", "bias")},
            **{f"roi_heads.mask_head.mask_fcn{layer + 1}.": f"roi_heads.mask_head.{layer}.0." for layer in range(4)},
            **{part: part for part in ("backbone.", "rpn.", "roi_heads.")},
            # And how the backbone's own files call what is its body here.
            **getattr(backbone, "renames", {}),
        }
        """See `Classifier.renames`."""

    def forward(
        self,
        images: Tensor | Sequence[Tensor],
        targets: list[dict[str, Tensor]] | None = None,
        sizes: Sequence[Size] | None = None,
    ) -> Any:
        """Return the losses by name in training, else the detections of each image.

        Args:
            images: (C, h, w) each, or (B, C, h, w); normalized.
            targets: of each image its `Instances`; boxes have an area and labels count from 1.
            sizes: (H, W) of each image in whose pixels results are wanted; by default its own.
        """
        batch = self.transform(list(images))
        features = self.backbone(batch.tensors)
        proposals, losses = self.rpn(batch, features, targets)
        detections, further = self.roi_heads(features, proposals, batch.image_sizes, targets)
        if self.training:
            return {**losses, **further}
        return self.transform.postprocess(detections, batch.image_sizes, sizes or batch.image_sizes)
