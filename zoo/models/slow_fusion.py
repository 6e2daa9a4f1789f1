"""Slow fusion: a single-frame network whose first three convolutions reach over time, each further than the one before
(Karpathy et al. 2014, "Large-scale video classification with convolutional neural networks", section 3.1)."""

from collections.abc import Sequence
from typing import Literal

from torch import nn

from zoo.models._arguments import check_choice, check_extents
from zoo.models._base import Classifier, kaiming_init_
from zoo.models._frames import Checked
from zoo.models._registry import register

Norm = Literal["local", "batch"]

# Filters, edge, stride in space, frames, stride in time. "C(96, 11, 3)-N-P-C(256, 5, 1)-N-P-C(384, 3, 1)-C(384, 3, 1)-
# C(256, 3, 1)-P-FC(4096)-FC(4096)"; in time 4 frames with stride 2, then twice 2 with stride 2, so that conv3 sees all ten.
_CONVOLUTIONS = ((96, 11, 3, 4, 2), (256, 5, 1, 2, 2), (384, 3, 1, 2, 2), (384, 3, 1, 1, 1), (256, 3, 1, 1, 1))
_NORMALIZED = (1, 2)
_POOLED = (1, 2, 5)
FRAMES = 10


@register
def slow_fusion(
    num_classes: int = 487,
    in_chans: int = 3,
    input_shape: Sequence[int] = (3, 10, 170, 170),
    stride: int = 3,
    hidden: int = 4096,
    norm: Norm = "local",
    dropout: float = 0.5,
) -> Classifier:
    """AlexNet made 3-D: time is fused over three convolutions, 10 frames to 4, 2 and 1.

    In time convolutions are "valid", as the paper says; in space they are padded to keep their size, but for the first,
    which is what makes 6 x 6 enter FC6 at 170 x 170 (the paper does not say).

    Args:
        num_classes: 487 is Sports-1M.
        input_shape: (C, 10, H, W); H and W size FC6, at least 32.
        stride: of the first convolution in space; the paper's is 3, small frames want 1 or 2.
        hidden: width of FC6 and FC7.
        norm: "local" response normalization, as the paper (in space and channels of one frame), or "batch" in its place
            and after every other convolution, to train from scratch in a short run.
        dropout: after FC6 and FC7 (the paper does not state it; AlexNet's).
    """
    check_choice("norm", norm, Norm)
    if input_shape[1] != FRAMES:
        raise ValueError(f"slow_fusion fuses {FRAMES} frames, not {input_shape[1]}. Set data.shape to (C, {FRAMES}, H, W).")
    check_extents("slow_fusion", input_shape, (FRAMES, 32, 32))
    layers: dict[str, nn.Module] = {"clip": Checked(FRAMES)}
    edges, channels = list(input_shape[2:]), in_chans
    for number, (width, edge, step, time, time_step) in enumerate(_CONVOLUTIONS, start=1):
        step, pad = (stride, 0) if number == 1 else (step, edge // 2)
        layers[f"conv{number}"] = nn.Conv3d(
            channels, width, (time, edge, edge), (time_step, step, step), (0, pad, pad), bias=norm == "local"
        )
        if norm == "batch":
            layers[f"norm{number}"] = nn.BatchNorm3d(width)
        layers[f"relu{number}"] = nn.ReLU(inplace=True)
        edges = [(extent + 2 * pad - edge) // step + 1 for extent in edges]
        if norm == "local" and number in _NORMALIZED:
            # "k = 2, n = 5, alpha = 10^-4, beta = 0.5" (section 3.1), of a sum over n channels; torch takes their mean.
            layers[f"norm{number}"] = nn.LocalResponseNorm(5, alpha=5 * 1e-4, beta=0.5, k=2.0)
        if number in _POOLED:
            layers[f"pool{number}"] = nn.MaxPool3d((1, 2, 2))
            edges = [extent // 2 for extent in edges]
        channels = width
    layers["flatten"] = nn.Flatten()
    features = channels * edges[0] * edges[1]
    for name in ("fc6", "fc7"):
        layers[name] = nn.Linear(features, hidden)
        layers[name.replace("fc", "relu")] = nn.ReLU(inplace=True)
        layers[name.replace("fc", "dropout")] = nn.Dropout(dropout)
        features = hidden
    blocks = ("relu1", "relu2", "relu3", "relu4", "relu5", "relu6", "relu7")
    net = Classifier(layers, num_features=features, num_classes=num_classes, in_chans=in_chans, blocks=blocks)
    kaiming_init_(net.features, (nn.Conv3d, nn.Linear))
    return net
