"""VGG-16's convolutions, which FCN and DeconvNet start from (Simonyan and Zisserman 2015, table 1, configuration D), and the
fully connected layers behind such."""

import math
from typing import Any

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


def resize_classifier(net: Any, pooled: int, hidden: int) -> None:
    """Replace the last pooling and the three linear layers of torchvision's AlexNet or VGG where they have other sizes.

    Args:
        pooled: edge of the map that enters the first of them.
        hidden: width of the first two.
    """
    first, second, last = (at for at, layer in enumerate(net.classifier) if isinstance(layer, nn.Linear))
    cells = math.prod(net.avgpool.output_size)
    if (cells, net.classifier[first].out_features) == (pooled**2, hidden):
        return
    channels = net.classifier[first].in_features // cells
    net.avgpool = nn.AdaptiveAvgPool2d(pooled)
    net.classifier[first] = nn.Linear(channels * pooled**2, hidden)
    net.classifier[second] = nn.Linear(hidden, hidden)
    net.classifier[last] = nn.Linear(hidden, net.classifier[last].out_features)
