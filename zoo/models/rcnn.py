"""Faster R-CNN (Ren et al. 2015), Mask R-CNN and its keypoints (He et al. 2017), on feature pyramids (Lin et al. 2017): one
detector with heads per region; torchvision's layers and names, so that its weights load.

`heads` are names, `[box, mask, keypoint]`, or in Python also objects of `Head`, those of one's own among them; `head_options`
are what each is built with, by its name.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from zoo.models._detector import Detector, Proposals
from zoo.models._heads import BOX, HEADS, Head, chosen, completed
from zoo.models._pyramid import Norm, pyramid
from zoo.models._region_heads import BoxHead, KeypointHead, MaskHead
from zoo.models._registry import variant

__all__ = ["HEADS", "BoxHead", "KeypointHead", "MaskHead", "faster_rcnn", "keypoint_rcnn", "mask_rcnn"]


def _rcnn(
    _: str,
    num_classes: int = 90,
    in_chans: int = 3,
    heads: Sequence[str | Head] = (BOX, "mask"),
    backbone: str | nn.Module = "resnet50",
    backbone_weights: str | bool | None = None,
    levels: int = 4,
    trained: int | None = None,
    norm: Norm = "frozen",
    norm_eps: float | None = None,
    channels: int = 256,
    head_options: Mapping[str, Mapping[str, Any]] | None = None,
    rpn_options: Mapping[str, Any] | None = None,
) -> Detector:
    """Mask R-CNN on a feature pyramid: boxes and masks; any other union of heads by `heads`.

    Classes are COCO's category ids, the background not counted; torchvision's COCO weights have 90 of them, and those with
    the tag COCO_V1 were trained with norm_eps=0.

    Args:
        num_classes: without the background.
        heads: "box", then names ("mask", "keypoint", those of `zoo.models.register_head`) or objects of `zoo.models.Head`.
        backbone: a 2-D network by name (zoo's, else torchvision's, else timm/NAME), or one, which is copied; or one that makes
            the maps of a pyramid by itself and has `out_channels`, which is taken as it is: see `zoo.models.Detector`.
        backbone_weights: what a backbone by name starts from: true, a tag, `MODEL:TAG`, a file or a run.
        levels: how many strides from 4 on the pyramid has, of each the backbone's deepest map.
        trained: how many levels' layers of the backbone train, from the deepest; the stem belongs to the first. None is all.
        norm: "frozen" makes BatchNorm a fixed scale and shift, "batch" leaves it to train.
        norm_eps: of BatchNorm, where it is not the backbone's own.
        channels: of every level.
        head_options: by a head's name the arguments it is built with, as `{"mask": {"widths": [64, 64]}}`; what is not said is
            the paper's. See `zoo.models.BoxHead`, `MaskHead` and `KeypointHead`. It may speak of heads that are not there.
        rpn_options: of the first stage likewise, as `{"anchors": [16, 32, 64]}`; see `zoo.models.Proposals`.
    """
    built, settled = chosen(heads, head_options)
    first = completed(Proposals, rpn_options or {}, "the first stage")
    levelled = pyramid(backbone, in_chans, levels, channels, trained, norm, norm_eps, backbone_weights)
    net = Detector(levelled, built, Proposals(**first), num_classes=num_classes, levels=levels)
    net.options = {"head_options": settled, "rpn_options": first}
    return net


mask_rcnn = variant(_rcnn, "mask_rcnn")
faster_rcnn = variant(
    _rcnn,
    "faster_rcnn",
    "Faster R-CNN on a feature pyramid: boxes with classes. Arguments as of `mask_rcnn`.",
    without=["heads"],
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
