"""The contract between data and tasks: what a batch holds, field by field.

They are plain dicts at run time, so that collation, pinning and Lightning's transfer to the device work as they are.
B is the number of samples; a sample is one image, or one clip of a video.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NotRequired, TypedDict

import torch
from torch import Tensor, nn
from torch.nn.functional import pad
from torch.utils._pytree import tree_map


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


# What can be learned from


def _label(classes: int, size: int, shape: Sequence[int], draw: torch.Generator) -> dict[str, Any]:
    return {"label": torch.arange(size) % classes}


def _mask(classes: int, size: int, shape: Sequence[int], draw: torch.Generator) -> dict[str, Any]:
    return {"mask": torch.randint(classes, (size, *shape[1:]), dtype=torch.uint8, generator=draw)}


KEYPOINTS = 17
"""Keypoints of an object of an example: as many as COCO's."""


def _objects(classes: int, size: int, shape: Sequence[int], draw: torch.Generator) -> dict[str, Any]:
    """A left and a right half."""
    height, width = shape[1:]
    masks = torch.zeros(2, height, width, dtype=torch.uint8)
    masks[0, :, : width // 2] = masks[1, :, width // 2 :] = 1
    boxes = torch.tensor([[0, 0, width // 2, height], [width // 2, 0, width, height]], dtype=torch.float32)
    middle = torch.tensor([[width / 4, height / 2, 1.0], [3 * width / 4, height / 2, 1.0]])
    objects = {"boxes": boxes, "masks": masks, "keypoints": middle[:, None].expand(2, KEYPOINTS, 3)}
    sizes = torch.tensor([[height, width]]).expand(size, 2)
    return {
        "instances": [{**objects, "labels": torch.ones(2, dtype=torch.int64)} for _ in range(size)],
        "size": sizes,
        "full": sizes,
        "image_id": torch.arange(size),
    }


def _checked_label(value: Any, count: int) -> Tensor | None:
    return value.long() if _whole(value, 1, count) else None


def _checked_mask(value: Any, count: int) -> Tensor | None:
    return value if _whole(value, 3, count) else None


def _checked_objects(value: Any, count: int) -> list[Any] | None:
    parts = list(value) if isinstance(value, list | tuple) else []
    right = len(parts) == count and all(isinstance(each, Mapping) and {"boxes", "labels"} <= each.keys() for each in parts)
    return parts if right else None


def _whole(value: Any, axes: int, count: int) -> bool:
    """Whether it is a tensor of whole numbers of so many axes, of so many samples."""
    if not isinstance(value, Tensor) or value.is_floating_point() or value.is_complex() or value.dtype == torch.bool:
        return False
    return value.dim() == axes and len(value) == count


@dataclass(frozen=True)
class Target:
    """Something that a task can learn from, and a data set serve."""

    words: str
    form: str
    """How a loader of another package serves it, in words."""
    key: str = ""
    """The field of a batch that holds it."""
    example: Callable[[int, int, Sequence[int], torch.Generator], dict[str, Any]] = lambda *_: {}
    """(classes, samples, shape of a sample, draws) -> the fields of a batch, as our data sets serve them."""
    checked: Callable[[Any, int], Any] = lambda value, count: value
    """(What another loader has, samples) -> what a task reads; None where it cannot."""
    listed: bool = False
    """Whether the images may differ in size, and be a list."""


TARGETS = {
    "none": Target("images alone", "images or clips alone"),
    "label": Target("one class a sample", "(input, label), the label int64 (B,)", "label", _label, _checked_label),
    "semantic": Target(
        "a class for each pixel",
        f"(input, mask), the mask of whole numbers (B, H, W), {VOID} where a pixel counts for nothing",
        "mask",
        _mask,
        _checked_mask,
    ),
    "instances": Target(
        "the boxes and masks of objects",
        "(input, instances), the input a batch or a list of images (C, H, W), the instances a list of dictionaries with boxes "
        "(N, 4) and labels (N,), from 1 on, as torchvision's detectors take them",
        "instances",
        _objects,
        _checked_objects,
        listed=True,
    ),
}
"""What a task can learn from; a data set says which of them it serves. A new kind is one entry here, and a task."""


def example_batch(
    target: str, shape: Sequence[int], classes: int, size: int, device: torch.device | str = "cpu"
) -> dict[str, Any]:
    """Noise as the data sets serve it, with what a task of this target learns from."""
    draw = torch.Generator().manual_seed(0)
    batch = {
        "input": torch.randint(256, (size, *shape), dtype=torch.uint8, generator=draw),
        "id": torch.arange(size),
        "view": torch.zeros(size, dtype=torch.int64),
        "epoch": torch.zeros(size, dtype=torch.int64),
        **TARGETS[target].example(classes, size, shape, draw),
    }
    moved: dict[str, Any] = tree_map(lambda each: each.to(device), batch)
    return moved


# Batches of other loaders


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
        f"{reader} reads {TARGETS[target].form}, or a dictionary with these names. The input is uint8, 0 to 255, or floats as "
        f"the network reads them, (B, C, H, W) or (B, C, T, H, W)."
    )
    key = TARGETS[target].key if told else ""
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
    if TARGETS[target].listed or isinstance(found["input"], list | tuple):
        found |= _images(found["input"], form)
    pixels = found["input"]
    if not isinstance(pixels, Tensor) or pixels.dim() not in (4, 5):
        raise ValueError(f"The batch's input is {_described(pixels)}. {form}")
    if not (pixels.is_floating_point() or pixels.dtype == torch.uint8):
        raise ValueError(f"The batch's input is {_described(pixels)}. {form}")
    if channels is not None and pixels.shape[1] != channels:
        raise ValueError(f"The batch's input is {_described(pixels)}, but the network reads {channels} channels. {form}")
    if key:
        value = found[key]
        if (read := TARGETS[target].checked(value, len(pixels))) is None:
            raise ValueError(f"The batch's {key} is {_described(value)}. {form}")
        if isinstance(read, Tensor) and read.numel() and int(read.min()) < 0:
            raise ValueError(f"The batch's {key} holds {int(read.min())}; classes are counted from 0. {form}")
        found[key] = read
    return found


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
