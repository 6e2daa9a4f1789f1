"""The contract between data and tasks: what a batch holds, field by field.

They are plain dicts at run time, so that collation, pinning and Lightning's transfer to the device work as they are.
B is the number of samples; a sample is one image, or one clip of a video.
"""

from typing import NotRequired, TypedDict

from torch import Tensor

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
    """uint8, 0 to 255: images (B, C, H, W) or clips (B, C, T, H, W). The task scales and normalises on the device."""
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
    enlarged to it, so that what counts is the file's own pixels."""


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
    """int64 (B,): the data set's own number of each image, or ours where it has none, under which results are written. No two
    images of a split have the same."""
    file: NotRequired[list[str]]
    """Of each image the file that it is."""
    instances: list[Instances]
