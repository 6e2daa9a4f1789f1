"""One detector, any heads: torchvision's generalized R-CNN with an open place for them. Their contract is `zoo.models.Head`.

(Ren et al. 2015, "Faster R-CNN"; He et al. 2017, "Mask R-CNN", section 3.)
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import pad
from torch.utils._pytree import tree_leaves
from torchvision.models.detection import roi_heads
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.generalized_rcnn import GeneralizedRCNN
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.rpn import RegionProposalNetwork, RPNHead

from zoo.models._head import Detections, Head, Regions, Size
from zoo.models._region_heads import BoxHead

_DIVISOR = 32
"""Batches are padded to a multiple of this, as torchvision pads them."""


def canvas(sizes: Sequence[Size]) -> Size:
    """Return (H, W) of the batch that holds images of these sizes."""
    height, width = (_DIVISOR * math.ceil(max(extents) / _DIVISOR) for extents in zip(*sizes, strict=True))
    return height, width


class Proposals:
    """The first stage: regions of any class, by how they differ from anchors.

    Args:
        anchors: edge of the anchors on each level, one more than the pyramid has levels: the last is for the pooled level.
        ratios: height to width of the anchors.
        train_proposals: regions that go on to the second stage in training, after the non-maximum suppression; as many of each
            level are looked at before it.
        proposals: the same in evaluation.
    """

    def __init__(
        self,
        anchors: Sequence[int] = (32, 64, 128, 256, 512),
        ratios: Sequence[float] = (0.5, 1.0, 2.0),
        train_proposals: int = 2000,
        proposals: int = 1000,
    ) -> None:
        self.anchors = tuple(anchors)
        self.ratios = tuple(ratios)
        self.kept = {"training": train_proposals, "testing": proposals}

    def network(self, channels: int, levels: int) -> RegionProposalNetwork:
        """Build it for a pyramid. Raises ValueError where there are not as many anchors as levels."""
        if len(self.anchors) != levels + 1:
            raise ValueError(
                f"model.rpn_options.anchors names {len(self.anchors)} edges, but there are {levels} levels and a pooled one: "
                f"give {levels + 1}."
            )
        generator = AnchorGenerator(tuple((edge,) for edge in self.anchors), (self.ratios,) * len(self.anchors))
        return RegionProposalNetwork(
            generator,
            RPNHead(channels, generator.num_anchors_per_location()[0]),
            fg_iou_thresh=0.7,
            bg_iou_thresh=0.3,
            batch_size_per_image=256,
            positive_fraction=0.5,
            pre_nms_top_n=self.kept,
            post_nms_top_n=self.kept,
            nms_thresh=0.7,
        )


class RoIHeads(roi_heads.RoIHeads):  # type: ignore[misc]  # torchvision ships no types
    """torchvision's sampling of regions and non-maximum suppression, and any heads.

    Args:
        heads: that of boxes first.
        channels: of each map that the heads may read, by its name.
        levels: names of the maps that are the pyramid.
    """

    def __init__(self, heads: Sequence[Head], num_classes: int, channels: Mapping[str, int], levels: Sequence[str]) -> None:
        box = heads[0]
        assert isinstance(box, BoxHead)
        super().__init__(
            box_roi_pool=None,  # set below, as those of all heads
            box_head=None,
            box_predictor=None,
            fg_iou_thresh=0.5,
            bg_iou_thresh=0.5,
            batch_size_per_image=box.regions,
            positive_fraction=0.25,
            bbox_reg_weights=None,
            score_thresh=box.score_threshold,
            nms_thresh=0.5,
            detections_per_img=box.detections,
        )
        self.heads = tuple(heads)
        self.parts: dict[str, list[str]] = {}
        """Head -> the names of its layers, in order; here they are called NAME_PART."""
        self.maps = {head.name: head.maps or tuple(levels) for head in heads}
        """Head -> the maps that it reads."""
        for head in self.heads:
            if unknown := [name for name in self.maps[head.name] if name not in channels]:
                made = ", ".join(channels)
                raise ValueError(
                    f"The head {head.name} reads a map {unknown[0]!r}, but the backbone makes {made}. Name it in its "
                    f"extra_channels."
                )
            layers = head.layers(channels[self.maps[head.name][0]], num_classes)
            self.parts[head.name] = list(layers)
            pool = {} if head.dense else {"roi_pool": head.pool(self.maps[head.name], box.sampling_ratio)}
            for part, layer in {**pool, **layers}.items():
                setattr(self, f"{head.name}_{part}", layer)

    def forward(
        self,
        features: Mapping[str, Tensor],
        proposals: list[Tensor],
        sizes: list[Size],
        targets: list[dict[str, Tensor]] | None = None,
    ) -> tuple[list[Detections], dict[str, Tensor]]:
        """Return the detections (in evaluation) and the losses by name (in training)."""
        # The poolers take the scale of each level from the first sizes that they see, for good: an image's own, to which a map
        # is not in proportion where much of it is padding, would leave every later region misplaced.
        padded = [canvas(sizes)]
        images = Regions(
            [boxes.new_tensor([[0, 0, w, h]]) for boxes, (h, w) in zip(proposals, sizes, strict=True)], [], targets or ()
        )
        regions = Regions(proposals, [])
        if self.training:
            proposals, matched, labels, offsets = self.select_training_samples(proposals, targets)
            regions = Regions(proposals, labels, images.objects, matched, offsets)
        detections: list[Detections] = [{} for _ in sizes]
        losses: dict[str, Tensor] = {}
        for head in self.heads:
            decides, read = head is self.heads[0], images if head.dense else regions
            if self.training:
                read, maps = _told(head, read, features)
                if read.boxes:
                    losses |= _losses(head, self._outputs(head, maps, read, padded), read)
                regions = _of_objects(regions) if decides else regions
                continue
            outputs = self._outputs(head, features, read, padded)
            if decides:
                boxes, scores, labels = self.postprocess_detections(*outputs, proposals, sizes)
                regions = read = Regions(boxes, labels, scores=scores)
            for image, fields in zip(detections, head.results(outputs, read), strict=True):
                _check_fields(head, fields)
                image.update(fields)
        return detections, losses

    def _outputs(self, head: Head, features: Mapping[str, Tensor], regions: Regions, padded: list[Size]) -> Any:
        layers = {part: self.get_submodule(f"{head.name}_{part}") for part in self.parts[head.name]}
        if head.dense:
            return head.run(layers, {name: features[name] for name in self.maps[head.name]}, regions)
        return head.run(layers, self.get_submodule(f"{head.name}_roi_pool")(features, regions.boxes, padded), regions)

    def has_mask(self) -> bool:
        """Whether every image must have masks, as torchvision's own heads want it; here a head without its truth is silent."""
        return False


def _told(head: Head, regions: Regions, features: Mapping[str, Tensor]) -> tuple[Regions, Mapping[str, Tensor]]:
    """The regions and the maps of those images that have the truth which the head needs."""
    told = [at for at, objects in enumerate(regions.objects) if objects.keys() >= {*head.needs}]
    if len(told) == len(regions.objects):
        return regions, features
    return regions.of_images(told), {name: maps[told] for name, maps in features.items()}


def _losses(head: Head, outputs: Any, regions: Regions) -> dict[str, Tensor]:
    """The terms of a head, by name."""
    if not (any(map(len, regions.boxes)) or isinstance(head, BoxHead)):
        # Without a region there is nothing to learn, but the layers must take part in the backward pass.
        return {f"loss_{head.name}": torch.stack([each.sum() for each in tree_leaves(outputs)]).sum()}
    loss = head.loss(outputs, regions)
    return {f"loss_{name}": each for name, each in (loss if isinstance(loss, Mapping) else {head.name: loss}).items()}


def _of_objects(regions: Regions) -> Regions:
    """Those of the sampled regions that match an object."""
    objects = [torch.where(labels > 0)[0] for labels in regions.labels]

    def of(values: Sequence[Tensor]) -> list[Tensor]:
        return [value[at] for value, at in zip(values, objects, strict=True)]

    return Regions(of(regions.boxes), of(regions.labels), regions.objects, of(regions.matched))


def _check_fields(head: Head, fields: Detections) -> None:
    """Refuse results of a dense head that could be taken for those of objects."""
    for field in fields if head.dense else ():
        if field != head.name and not field.startswith(f"{head.name}_"):
            raise ValueError(
                f"The head {head.name} is dense, so it calls its results {head.name} or {head.name}_..., not {field}."
            )


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
            for head in self.heads:
                image.update(head.enlarged(image, before, after))
        return detections


class Detector(GeneralizedRCNN):  # type: ignore[misc]  # torchvision ships no types
    """Backbone, region proposals, heads. Tensors have torchvision's names; images come normalized and scaled.

    Args:
        backbone: images -> maps by name: the pyramid's levels "0", "1", ..., and one pooled more, of `out_channels` each. Where
            it has `extra_channels`, name to channels, it makes maps of these names too, for heads alone (`Head.maps`).
        heads: that of boxes, then any others.
        proposals: the first stage.
        num_classes: without the background.
        levels: of the pyramid from which regions are pooled.
    """

    def __init__(
        self, backbone: nn.Module, heads: Sequence[Head], proposals: Proposals, *, num_classes: int, levels: int
    ) -> None:
        if num_classes < 1:
            raise ValueError(f"num_classes is {num_classes}; a detector has at least 1, and the background is not counted.")
        channels = int(backbone.out_channels)  # type: ignore[arg-type]
        extra: Mapping[str, int] = getattr(backbone, "extra_channels", {})
        names = [str(level) for level in range(levels)]
        super().__init__(
            backbone,
            proposals.network(channels, levels),
            RoIHeads(heads, num_classes, {**dict.fromkeys(names, channels), **extra}, names),
            PaddingTransform(heads),
        )
        self.options: dict[str, Any]
        """Those of its heads and of the first stage, defaults among them; `create_model` takes them into the recipe."""
        self.extra = frozenset(extra)
        """Names of the maps that the first stage does not see."""
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
        searched = {name: maps for name, maps in features.items() if name not in self.extra}
        proposals, losses = self.rpn(batch, searched, targets)
        detections, further = self.roi_heads(features, proposals, batch.image_sizes, targets)
        if self.training:
            return {**losses, **further}
        return self.transform.postprocess(detections, batch.image_sizes, sizes or batch.image_sizes)
