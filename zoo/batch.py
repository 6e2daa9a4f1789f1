"""The contract between data and tasks: what a batch holds, field by field.

They are plain dicts at run time, so that collation, pinning and Lightning's transfer to the device work as they are.
B is the number of samples; a sample is one image, or one clip of a video.
"""

from typing import NotRequired, TypedDict

from torch import Tensor


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
