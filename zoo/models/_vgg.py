"""VGG-16's convolutions, which FCN and DeconvNet start from (Simonyan and Zisserman 2015, table 1, configuration D)."""

from torch import nn

STAGES = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
"""Filters of each 3x3 convolution; a stage ends in a 2x2 pooling."""
HIDDEN = 4096
"""Width of FC6 and FC7."""


def scaled_channels(channels: int, width: float) -> int:
    """Multiply channels by `width`, to at least one. Raises ValueError: a width that is not above 0."""
    if width <= 0:
        raise ValueError(f"width is {width}; it multiplies the paper's channels and must be above 0.")
    return max(1, round(channels * width))


def conv_norm_relu(layer: nn.Module, channels: int, norm: bool) -> list[nn.Module]:
    """List a convolution of so many filters, its BatchNorm if asked for, and a ReLU."""
    return [layer, *([nn.BatchNorm2d(channels)] if norm else []), nn.ReLU(inplace=True)]
