"""The contract between data and tasks: what a batch holds, field by field.

They are plain dicts at run time, so that collation, pinning and Lightning's transfer to the device work as they are.
B is the number of samples; a sample is one image, or one clip of a video.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NotRequired, TypedDict

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

TARGETS = {
    "none": "images alone",
    "label": "one class a sample",
    "semantic": "a class for each pixel",
    "instances": "the boxes and masks of objects",
}
"""What a task can learn from; a data set says which of them it serves."""


class Batch(TypedDict):
    """What every data set serves."""

    input: Tensor
    """uint8, 0 to 255: images (B, C, H, W) or clips (B, C, T, H, W). The task scales and normalizes on the device."""
    id: Tensor
    """int64 (B,): which image or video of the split. Results are joined, and padding is dropped, by it."""
    view: Tensor
    """int64 (B,): which of the views (clips, crops) of that image or video; 0 where there is one."""
    epoch: Tensor
    """int64 (B,): with the id it determines every random choice made for the sample."""
    bad: NotRequired[dict[str, str]]
    """File to reason: samples that could not be read and are missing here. The data module takes it out and counts."""


class LabelBatch(Batch):
    """Classification: one class a sample."""

    label: Tensor
    """int64 (B,): 0 to num_classes - 1."""


VOID = 255
"""The class of a pixel that counts for nothing, neither in the loss nor in a metric; padding is void."""


class MaskBatch(Batch):
    """Segmentation: one class a pixel.

    A set whose images differ in size serves them one at a time when it is scored.
    """

    mask: Tensor
    """uint8 (B, H, W): 0 to num_classes - 1, or `VOID`. In evaluation it may be larger than the input: scores are then
    upsampled to it, so that what counts is the file's own pixels."""


class Instances(TypedDict):
    """The N objects of one image, in torchvision's form; N may be 0."""

    boxes: Tensor
    """float32 (N, 4): x0, y0, x1, y1 in pixels, the edges that enclose the visible part."""
    labels: Tensor
    """int64 (N,): 1 to num_classes; 0 would be the background, which `num_classes` does not count here."""
    masks: NotRequired[Tensor]
    """uint8 (N, H, W): 1 where the object is seen."""
    keypoints: NotRequired[Tensor]
    """float32 (N, K, 3): x, y in pixels and whether the point counts."""
    crowd: NotRequired[Tensor]
    """bool (N,): several objects as one, or one too hard to tell: what is found there counts neither way. Training
    samples have none of these."""
    area: NotRequired[Tensor]
    """float64 (N,): pixels, where the data set states them; else they are those of the mask, or of the box."""


class InstanceBatch(Batch):
    """Detection: the objects of each image. Images of several sizes lie in the upper left of one `input`."""

    size: Tensor
    """int64 (B, 2): height and width of each image in the input; what lies beyond is padding."""
    full: Tensor
    """int64 (B, 2): height and width in whose pixels the instances are given and results are wanted. In training it is
    `size`; in evaluation it may be larger: what counts is the file's own pixels."""
    image_id: Tensor
    """int64 (B,): the data set's own number of each image, or a running number where it has none; results are written
    under it. No two images of a split have the same."""
    file: NotRequired[list[str]]
    """The file of each image."""
    instances: list[Instances]


# Batches of other loaders

_KEYS = {"label": "label", "semantic": "mask", "instances": "instances"}
"""Target to the field that holds it."""
_FORMS = {
    "none": "images or clips alone",
    "label": "(input, label), the label int64 (B,)",
    "semantic": f"(input, mask), the mask of whole numbers (B, H, W), {VOID} where a pixel counts for nothing",
    "instances": (
        "(input, instances), the input a batch or a list of images (C, H, W), the instances a list of dictionaries with boxes "
        "(N, 4) and labels (N,), from 1 on, as torchvision's detectors take them"
    ),
}


def channels_of(net: Any) -> int | None:
    """The channels that a network reads: its `in_chans`, what it was built with, or what its first convolution takes; else
    None."""
    if not isinstance(net, nn.Module):
        return None
    said = getattr(net, "in_chans", None) or getattr(net, "recipe", {}).get("arguments", {}).get("in_chans")
    first = (module for module in net.modules() if isinstance(module, nn.Conv2d | nn.Conv3d))
    return said or next((module.in_channels for module in first), None)


def foreign(batch: Any, target: str, reader: str, channels: int | None = None, *, told: bool = True) -> dict[str, Any]:
    """The fields of a batch that a loader of another package made: a pair of input and target, or a dictionary of both.

    Args:
        target: what is learned from, a key of `TARGETS`.
        reader: who reads it, for the sentence.
        channels: that the network reads, where it is known.
        told: whether the target must be in it. What more it holds is left where it is.

    Raises:
        ValueError: it is something else; the sentence shows the form.
    """
    form = (
        f"{reader} reads {_FORMS[target]}, or a dictionary with these names. The input is uint8, 0 to 255, or floats as the "
        f"network reads them, (B, C, H, W) or (B, C, T, H, W)."
    )
    key = _KEYS.get(target) if told else None
    names = ("input", *filter(None, [key]))
    if isinstance(batch, Mapping):
        if missing := [name for name in names if name not in batch]:
            held = ", ".join(map(repr, batch)) or "nothing"
            raise ValueError(f"The batch has no {missing[0]!r}, it holds {held}. {form}")
        found = {str(name): batch[name] for name in batch}
    elif isinstance(batch, Tensor) and len(names) == 1:
        found = {"input": batch}
    elif isinstance(batch, Sequence) and not isinstance(batch, str) and len(batch) >= len(names):
        found = dict(zip(names, batch, strict=False))
    else:
        raise ValueError(f"The batch is {_described(batch)}. {form}")
    if target == "instances" or isinstance(found["input"], list | tuple):
        found |= _images(found["input"], form)
    pixels = found["input"]
    if not isinstance(pixels, Tensor) or pixels.dim() not in (4, 5):
        raise ValueError(f"The batch's input is {_described(pixels)}. {form}")
    if not (pixels.is_floating_point() or pixels.dtype == torch.uint8):
        raise ValueError(f"The batch's input is {_described(pixels)}. {form}")
    if channels is not None and pixels.shape[1] != channels:
        raise ValueError(f"The batch's input is {_described(pixels)}, but the network reads {channels} channels. {form}")
    if key:
        found[key] = _target(found[key], target, len(pixels), form)
    return found


def _target(value: Any, target: str, count: int, form: str) -> Any:
    """What is learned from, of so many samples. Raises ValueError."""
    if target == "instances":
        parts = list(value) if isinstance(value, list | tuple) else []
        if len(parts) != count or not all(isinstance(each, Mapping) and {"boxes", "labels"} <= each.keys() for each in parts):
            raise ValueError(f"The batch's instances are {_described(value)}. {form}")
        return parts
    axes = 1 if target == "label" else 3
    whole = isinstance(value, Tensor) and not (value.is_floating_point() or value.is_complex() or value.dtype == torch.bool)
    if not whole or value.dim() != axes or len(value) != count:
        raise ValueError(f"The batch's {_KEYS[target]} is {_described(value)}. {form}")
    if value.numel() and int(value.min()) < 0:
        raise ValueError(f"The batch's {_KEYS[target]} holds {int(value.min())}; classes are counted from 0. {form}")
    return value.long() if target == "label" else value


def _images(images: Any, form: str) -> dict[str, Any]:
    """Images (C, h, w) of any sizes as one input, each in the upper left, and their sizes."""
    parts = list(images) if isinstance(images, list | tuple | Tensor) else []
    if not parts or not all(isinstance(each, Tensor) and each.dim() == 3 for each in parts):
        raise ValueError(f"The batch's input is {_described(images)}. {form}")
    height, width = (max(each.shape[axis] for each in parts) for axis in (1, 2))
    sizes = torch.tensor([each.shape[1:] for each in parts], device=parts[0].device)
    padded = [pad(each, (0, width - each.shape[2], 0, height - each.shape[1])) for each in parts]
    return {"input": torch.stack(padded), "size": sizes, "full": sizes}


def _described(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"{str(value.dtype).removeprefix('torch.')} {tuple(value.shape)}"
    if isinstance(value, list | tuple):
        return f"a {type(value).__name__} of {len(value)}"
    return f"a {type(value).__name__}"
