"""X3D: a small 2-D network expanded axis by axis, in time, space, width and depth (Feichtenhofer 2020, "X3D: expanding
architectures for efficient video recognition", table 1); pytorchvideo's networks."""

import operator
from collections.abc import Sequence

from torch import nn

from zoo.models._arguments import ClipStem, check_choice
from zoo.models._base import Classifier, wrapped
from zoo.models._registry import variant


def _x3d(
    _: str,
    num_classes: int = 400,
    in_chans: int = 3,
    input_shape: Sequence[int] = (3, 16, 224, 224),
    stem: ClipStem = "paper",
    dropout: float = 0.5,
) -> Classifier:
    """S and M differ in what they read only.

    Args:
        num_classes: 400 is Kinetics.
        input_shape: (C, T, H, W); any is read, and the head's average is over all of it.
        stem: "paper" begins with stride 2 in space, "small" with stride 1, for frames of few pixels. The weights are the
            same.
        dropout: before the head.
    """
    from pytorchvideo.models.resnet import ResBlock
    from pytorchvideo.models.x3d import create_x3d

    check_choice("stem", stem, ClipStem)
    net = create_x3d(
        input_channel=in_chans,
        model_num_class=max(1, num_classes),
        dropout_rate=dropout,
        stem_conv_stride=(1, 2, 2) if stem == "paper" else (1, 1, 1),
        head_activation=None,
    )
    for module in net.modules():
        if isinstance(module, ResBlock):
            module.branch_fusion = operator.add  # pytorchvideo's is a lambda, which torch.save cannot write
    net.blocks[5].pool.pool = nn.AdaptiveAvgPool3d(1)  # pytorchvideo's window is of one size
    blocks = tuple(f"blocks.{stage}" for stage in range(5))
    return wrapped(net, "blocks.5.proj", num_classes, in_chans, blocks)


x3d_s = variant(
    _x3d,
    "x3d_s",
    "X3D-S; 3.79 M parameters and 1.96 G multiply-adds at 400 classes and 3x13x160x160.",
    input_shape=(3, 13, 160, 160),
)
x3d_m = variant(_x3d, "x3d_m", "X3D-M; 3.79 M parameters and 4.73 G multiply-adds at 400 classes and 3x16x224x224.")
