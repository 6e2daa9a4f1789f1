"""One detector, any head per region: torchvision's generalised R-CNN with an open place for heads.

    class MyHead(Head):
        name = "mine"
        needs = ("keypoints",)                       # fields of `Instances` that it learns from
        resolution = 7                               # regions are pooled to 7 x 7
        def layers(self, channels, num_classes): ... # name -> module, applied in this order
        def loss(self, outputs, regions): ...        # a scalar, from outputs and the object of each region
        def results(self, outputs, regions): ...     # fields of what was found, image by image

The box head is the detector's own: it decides which regions there are. Every other head looks at the regions of which it
decided that they are objects. (Ren et al. 2015, "Faster R-CNN"; He et al. 2017, "Mask R-CNN", section 3.)
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, TypeVar

import torch
from timm.layers.norm_act import freeze_batch_norm_2d
from torch import Tensor, nn
from torch.nn.functional import pad
from torch.nn.modules.batchnorm import _BatchNorm
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.generalized_rcnn import GeneralizedRCNN
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.roi_heads import RoIHeads, fastrcnn_loss
from torchvision.models.detection.rpn import RegionProposalNetwork, RPNHead
from torchvision.models.detection.transform import resize_boxes
from torchvision.ops import MultiScaleRoIAlign
from torchvision.ops.feature_pyramid_network import FeaturePyramidNetwork, LastLevelMaxPool

from zoo.models._arguments import check_choice
from zoo.models._base import Classifier
from zoo.models._create import weights_file
from zoo.models._extract import extracted
from zoo.models._frames import build_2d
from zoo.models._weights import fresh_tensors, load_pretrained, settle

Norm = Literal["batch", "frozen"]
Size = tuple[int, int]
Found = dict[str, Tensor]
"""What was found in an image: `boxes`, `labels`, `scores`, and what the heads add."""

_PROBE = 224
"""Edge of the image by which a backbone's maps are measured; networks made for one size are made for this one."""
_DIVISOR = 32
"""Batches are padded to a multiple of this, as torchvision pads them."""


def canvas(sizes: Sequence[Size]) -> Size:
    """(H, W) of the batch that holds images of these sizes."""
    height, width = (_DIVISOR * math.ceil(max(extents) / _DIVISOR) for extents in zip(*sizes, strict=True))
    return height, width


@dataclass(frozen=True)
class Regions:
    """Where the heads look, image by image: in training at the proposals that match an object, else at what was found."""

    boxes: list[Tensor]
    """(R, 4) in pixels of the network's input."""
    labels: list[Tensor]
    """int64 (R,): the class, from 1."""
    objects: Sequence[Mapping[str, Tensor]] = ()
    """In training, the image's `Instances`."""
    matched: Sequence[Tensor] = ()
    """In training, int64 (R,): which object a region matches."""

    def of(self, field: str) -> list[Tensor]:
        """That field of the object in each region, (R, ...)."""
        return [objects[field][at] for objects, at in zip(self.objects, self.matched, strict=True)]

    def split(self, values: Tensor) -> list[Tensor]:
        """Values of all regions, (sum of R, ...), image by image."""
        return list(torch.split(values, [len(boxes) for boxes in self.boxes]))


class Head:
    """What is said of each region besides its box. It holds no parameters: its layers belong to the detector, under the
    names `NAME_PART`, torchvision's for the heads that torchvision has."""

    name: ClassVar[str]
    """Of its layers, its loss (`loss_NAME`), and in a list of heads."""
    needs: ClassVar[tuple[str, ...]] = ()
    """Fields of `Instances` that it learns from, beside boxes and labels."""
    resolution: int = 7
    """Regions are pooled to this many cells a side."""

    def pool(self, levels: Sequence[str], sampling_ratio: int) -> nn.Module:
        """(features, boxes, image sizes) -> (R, C, P, P): RoIAlign from the pyramid's level that suits a box's size."""
        pooling: nn.Module = MultiScaleRoIAlign(list(levels), self.resolution, sampling_ratio)
        return pooling

    def layers(self, channels: int, num_classes: int) -> dict[str, nn.Module]:
        """The parts by name, each fed with what the one before gave, the first with (R, channels, P, P)."""
        raise NotImplementedError

    def loss(self, outputs: Tensor, regions: Regions) -> Tensor:
        """A scalar. It is asked for only where there are regions."""
        raise NotImplementedError

    def results(self, outputs: Tensor, regions: Regions) -> list[Found]:
        """Fields of what was found, image by image, (R, ...) each, in pixels of the input. R may be 0."""
        raise NotImplementedError

    def enlarged(self, found: Found, old: Size, new: Size) -> Found:
        """The fields of its own that change when results are scaled from (h, w) to (H, W); the boxes in `found` are scaled
        already."""
        return {}


SomeHead = TypeVar("SomeHead", bound=Head)

HEADS: dict[str, type[Head]] = {}
"""Heads of one's own by name, so that they can be named in `heads` from a YAML or a command line too."""
OURS = ("box", "mask", "keypoint")


def register_head(head: type[SomeHead]) -> type[SomeHead]:
    """Make a head of one's own known by its `name`, so that `heads` can name it, from a YAML or a command line too. It is built
    without arguments.

    Raises:
        ValueError: it has no name, or another head has the name.
    """
    name = getattr(head, "name", None)
    if not isinstance(name, str) or not name.isidentifier():
        raise ValueError(f'The head {head.__qualname__} is named {name!r}. Give it a name, a plain word: name = "mine".')
    known = HEADS.get(name)
    there = f"{known.__module__}.{known.__qualname__}" if known else name
    if name in OURS or (known and there != f"{head.__module__}.{head.__qualname__}"):
        raise ValueError(f"There is a head {name} already, so {head.__qualname__} cannot be registered. Give it another name.")
    HEADS[name] = head
    return head


class RegionHeads(RoIHeads):  # type: ignore[misc]  # torchvision ships no types
    """torchvision's box head, its sampling of regions and its suppression of doubles; then any other heads."""

    def __init__(
        self,
        heads: Sequence[Head],
        *,
        num_classes: int,
        levels: Sequence[str],
        channels: int,
        sampling_ratio: int,
        box_width: int,
        regions: int,
        detections: int,
        score_threshold: float,
    ) -> None:
        super().__init__(
            box_roi_pool=MultiScaleRoIAlign(list(levels), 7, sampling_ratio),
            box_head=TwoMLPHead(channels * 7**2, box_width),
            box_predictor=FastRCNNPredictor(box_width, num_classes + 1),  # the first is the background
            fg_iou_thresh=0.5,
            bg_iou_thresh=0.5,
            batch_size_per_image=regions,
            positive_fraction=0.25,
            bbox_reg_weights=None,
            score_thresh=score_threshold,
            nms_thresh=0.5,
            detections_per_img=detections,
        )
        self.heads = tuple(heads)
        self.parts: dict[str, list[str]] = {}
        """Of each head the names of its layers here, in order."""
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
    ) -> tuple[list[Found], dict[str, Tensor]]:
        """What was found (in evaluation) and the losses by name (in training)."""
        matched: list[Tensor] = []
        labels: list[Tensor] = []
        offsets: list[Tensor] = []
        if self.training:
            proposals, matched, labels, offsets = self.select_training_samples(proposals, targets)
        # The poolers take the scale of each level from the first sizes that they see, for good: an image's own, to which a map
        # is not in proportion where much of it is padding, would leave every later region misplaced.
        whole = [canvas(sizes)]
        scores, deltas = self.box_predictor(self.box_head(self.box_roi_pool(features, proposals, whole)))
        found: list[Found] = []
        losses: dict[str, Tensor] = {}
        if self.training:
            assert targets is not None
            losses = dict(zip(("loss_classifier", "loss_box_reg"), fastrcnn_loss(scores, deltas, labels, offsets), strict=True))
            objects = [torch.where(label > 0)[0] for label in labels]

            def of_objects(values: list[Tensor]) -> list[Tensor]:
                return [value[at] for value, at in zip(values, objects, strict=True)]

            regions = Regions(of_objects(proposals), of_objects(labels), targets, of_objects(matched))
        else:
            boxes, confidence, labels = self.postprocess_detections(scores, deltas, proposals, sizes)
            regions = Regions(boxes, labels)
            columns = zip(boxes, labels, confidence, strict=True)
            found = [{"boxes": box, "labels": label, "scores": score} for box, label, score in columns]
        for head in self.heads:
            outputs = self.get_submodule(f"{head.name}_roi_pool")(features, regions.boxes, whole)
            for part in self.parts[head.name]:
                outputs = self.get_submodule(part)(outputs)
            if self.training:
                # Without a region there is nothing to learn, but the layers must take part in the backward pass.
                losses[f"loss_{head.name}"] = head.loss(outputs, regions) if len(outputs) else outputs.sum()
            else:
                for image, fields in zip(found, head.results(outputs, regions), strict=True):
                    image.update(fields)
        return found, losses


class Frame(nn.Module):
    """Between images of several sizes and the one tensor that the network reads; and back."""

    def __init__(self, heads: Sequence[Head]) -> None:
        super().__init__()
        self.heads = tuple(heads)

    def forward(self, images: Sequence[Tensor]) -> ImageList:
        """(C, h, w) each -> one batch, zeros (the mean colour) beyond each image's edge."""
        sizes = [(image.shape[-2], image.shape[-1]) for image in images]
        height, width = canvas(sizes)
        padded = [pad(image, (0, width - w, 0, height - h)) for image, (h, w) in zip(images, sizes, strict=True)]
        return ImageList(torch.stack(padded), sizes)

    def postprocess(self, found: list[Found], old: Sequence[Size], new: Sequence[Size]) -> list[Found]:
        """What was found, in pixels of the sizes asked for."""
        for image, before, after in zip(found, old, new, strict=True):
            image["boxes"] = resize_boxes(image["boxes"], before, after)
            for head in self.heads:
                image.update(head.enlarged(image, before, after))
        return found


class Detector(GeneralizedRCNN):  # type: ignore[misc]  # torchvision ships no types
    """Backbone, region proposals, heads. Tensors have torchvision's names; images come normalised and scaled.

    Args:
        backbone: images -> maps by level, with the attribute `out_channels`.
        heads: those besides the box head.
        num_classes: without the background.
        levels: of the pyramid from which regions are pooled.
        anchors: edge of the anchors on each level, one more than `levels`: the last is for the pooled level.
        ratios: height to width of the anchors.
        train_proposals: regions that go on from the first stage to the second in training, and likewise from each level
            into the suppression of doubles before.
        proposals: the same in evaluation.
        regions: of the proposals, how many a training image teaches the heads with; at most a quarter are objects.
        detections: in an image, at most.
        score_threshold: what scores less is not an object.
        sampling_ratio: points a side at which a map is read for each cell of a pooled region, and averaged.
        box_width: of the box head's two layers.
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
            RegionHeads(
                heads,
                num_classes=num_classes,
                levels=[str(level) for level in range(levels)],
                channels=channels,
                sampling_ratio=sampling_ratio,
                box_width=box_width,
                regions=regions,
                detections=detections,
                score_threshold=score_threshold,
            ),
            Frame(heads),
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
        """In training, the losses by name; else what was found in each image.

        Args:
            images: (C, h, w) each, or (B, C, h, w); normalised.
            targets: of each image its `Instances`; boxes have an area and labels count from 1.
            sizes: (H, W) of each image in whose pixels results are wanted; by default its own.
        """
        batch = self.transform(list(images))
        features = self.backbone(batch.tensors)
        proposals, losses = self.rpn(batch, features, targets)
        found, further = self.roi_heads(features, proposals, batch.image_sizes, targets)
        if self.training:
            return {**losses, **further}
        return self.transform.postprocess(found, batch.image_sizes, sizes or batch.image_sizes)


# The backbone


class Pyramid(nn.Module):
    """A network's maps, one a stride, joined from the deepest up (Lin et al. 2017, "Feature pyramid networks"); then one
    level more, pooled. Names of tensors are torchvision's.

    Args:
        body: image -> maps, named "0", "1", ..., shallow to deep.
        depths: their channels.
        out_channels: of every level.
        renames: how weights of the whole network call what is the body of a detector's backbone; see `Classifier`.
    """

    def __init__(self, body: nn.Module, depths: Sequence[int], out_channels: int, renames: Mapping[str, str]) -> None:
        super().__init__()
        self.body = body
        self.renames = renames
        self.fpn = FeaturePyramidNetwork(list(depths), out_channels, LastLevelMaxPool())
        self.out_channels = out_channels

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        levels: dict[str, Tensor] = self.fpn(self.body(x))
        return levels


def pyramid(
    backbone: str | nn.Module,
    *,
    in_chans: int,
    levels: int,
    channels: int,
    trained: int | None,
    norm: Norm,
    norm_eps: float | None,
    weights: str | None,
) -> Pyramid:
    """A 2-D network, by name or as it is, cut into a feature pyramid.

    Args:
        backbone: a name, of ours, else torchvision's, else `timm/NAME`; or a network, of which a copy is taken.
        levels: how many strides from 4 on, the deepest map of each.
        channels: of every level.
        trained: how many levels' layers train, from the deepest; the stem belongs to the first. None is all.
        norm: "frozen" makes BatchNorm a fixed scale and shift; what does not train has it frozen in any case.
        norm_eps: of BatchNorm, where it is not the backbone's own.
        weights: tag or file of weights that the backbone starts from.

    Raises:
        ValueError: the network has too few strides, or cannot be cut.
    """
    check_choice("norm", norm, Norm)
    net = build_2d(backbone, in_chans, (in_chans, 1, _PROBE, _PROBE), None)
    if weights is not None:
        if not isinstance(backbone, str):
            raise ValueError("backbone_weights are for a backbone by name. Load those of a network before it is handed over.")
        load_pretrained(net, weights_file(backbone, weights), backbone)
    blocks = _blocks(net, levels)
    try:
        body = extracted(net.features, {block: str(at) for at, block in enumerate(blocks)})
    except (torch.fx.proxy.TraceError, TypeError, ValueError) as error:
        raise ValueError(f"The backbone {backbone} cannot be cut, as torch.fx cannot trace it: {error}.") from error
    for module in body.modules():
        if isinstance(module, _BatchNorm) and norm_eps is not None:
            module.eps = norm_eps
    if trained is not None:
        if not 0 <= trained <= levels:
            raise ValueError(f"model.trained is {trained}, but there are {levels} levels: give 0 to {levels}, or null for all.")
        _freeze(body, in_chans, levels - trained)
    if norm == "frozen":
        body = _fixed(body)
    fresh = {key.removeprefix("features.") for key in fresh_tensors(net)}
    settle(body, [key for key in body.state_dict() if key not in fresh])
    renames = {old: new.replace("features.", "backbone.body.", 1) for old, new in net.renames.items()}
    return Pyramid(body, list(blocks.values()), channels, renames | {"": "backbone.body."})


def _blocks(net: Classifier, levels: int) -> dict[str, int]:
    """The deepest block of each stride from 4 on, and its channels."""
    shapes: dict[str, tuple[int, ...]] = {}
    for name, maps in _maps(net).items():
        if maps.dim() == 4 and maps.shape[2] == maps.shape[3]:  # (B, H, W, C) is no map
            shapes[name] = tuple(maps.shape)
    deepest = {shape[2]: name for name, shape in shapes.items() if shape[2] <= _PROBE // 4}
    names = sorted(deepest.values(), key=list(shapes).index)[:levels]
    if len(names) < levels:
        raise ValueError(
            f"The backbone has maps of {len(names)} strides from 4 on, but {levels} levels are asked for. Choose another, or "
            f"set model.levels."
        )
    return {name: shapes[name][1] for name in names}


def _maps(net: Classifier) -> dict[str, Tensor]:
    """What comes out of the named blocks, and of the parts of those that are rows of parts, in the order of their making."""
    inner = [f"{name}.{part}" for name in net.blocks for part in _row(net.features.get_submodule(name))]
    training, parameter = net.training, next(net.parameters())
    with torch.no_grad():
        image = parameter.new_zeros(1, net.in_chans, _PROBE, _PROBE)
        maps = net.eval().forward_blocks(image, [*net.blocks, *inner])
    net.train(training)
    return maps


def _row(block: nn.Module) -> list[str]:
    return [name for name, _ in block.named_children()] if isinstance(block, nn.Sequential) else []


def _freeze(body: nn.Module, in_chans: int, levels: int) -> None:
    """Stop the layers that the first levels' maps are made by from training; autograd knows which these are."""
    if not levels:
        return
    training, parameters = body.training, [each for each in body.parameters() if each.requires_grad]
    with torch.enable_grad():
        maps = body.eval()(parameters[0].new_zeros(1, in_chans, _PROBE, _PROBE))
        used = torch.autograd.grad(maps[str(levels - 1)].sum(), parameters, allow_unused=True)
    body.train(training)
    for parameter, gradient in zip(parameters, used, strict=True):
        parameter.requires_grad_(gradient is None)
    for module in list(body.modules()):
        for name, child in module.named_children():
            if isinstance(child, _BatchNorm) and not any(parameter.requires_grad for parameter in child.parameters()):
                setattr(module, name, _fixed(child))


def _fixed(module: nn.Module) -> nn.Module:
    """With every BatchNorm made a fixed scale and shift: no gradient, no decay, no statistics."""
    fixed: nn.Module = freeze_batch_norm_2d(module)  # type: ignore[no-untyped-call]  # timm leaves it bare
    return fixed
