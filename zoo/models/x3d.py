"""X3D: a small 2-D network expanded axis by axis, in time, space, width and depth (Feichtenhofer 2020, "X3D: expanding
architectures for efficient video recognition", table 1); pytorchvideo's networks."""

import math
import operator
from collections.abc import Sequence

from torch import Tensor

from zoo.models._arguments import ClipStem, check_choice
from zoo.models._base import Classifier, wrapped
from zoo.models._registry import variant
from zoo.models._window import average


class _ByWindow(Classifier):
    """In evaluation every window of the last maps is classified, and their probabilities are averaged, as in pytorchvideo's
    network; the scores are the logarithm of the average. In training the average of the windows' vectors, which is what `embed`
    returns, is classified."""

    def forward(self, x: Tensor) -> Tensor:
        if self.training or not self.num_classes:
            return super().forward(x)
        *stages, head = self.features.get_submodule("blocks").children()
        for stage in (*stages, head.get_submodule("pool")):
            x = stage(x)
        scores = self.classify(x.flatten(2).transpose(1, 2))  # (B, windows, num_classes)
        windows = scores.shape[1]
        return scores[:, 0] if windows == 1 else scores.log_softmax(2).logsumexp(1) - math.log(windows)


def _x3d(
    name: str,
    num_classes: int = 400,
    in_chans: int = 3,
    input_shape: Sequence[int] = (3, 16, 224, 224),
    stem: ClipStem = "paper",
    dropout: float = 0.5,
    window: int | None = None,
) -> Classifier:
    """XS, S and M differ in what they read only; L is deeper.

    Args:
        num_classes: 400 is Kinetics.
        input_shape: (C, T, H, W); any is read, and the head's average is over all of it.
        stem: "paper" begins with stride 2 in space, "small" with stride 1, for frames of few pixels. The weights are the
            same.
        dropout: before the head.
        window: pixels of the last maps over whose square the head averages; where more fit, each is classified, and the
            probabilities are averaged (the published networks: 5, 5, 7 and 10 from XS to L, a 32nd of the frames they were
            trained on). None averages all there is.
    """
    from pytorchvideo.models.resnet import ResBlock
    from pytorchvideo.models.x3d import create_x3d

    check_choice("stem", stem, ClipStem)
    net = create_x3d(
        input_channel=in_chans,
        model_num_class=max(1, num_classes),
        dropout_rate=dropout,
        depth_factor=5.0 if name == "x3d_l" else 2.2,
        stem_conv_stride=(1, 2, 2) if stem == "paper" else (1, 1, 1),
        head_activation=None,
    )
    for module in net.modules():
        if isinstance(module, ResBlock):
            module.branch_fusion = operator.add  # pytorchvideo's is a lambda, which torch.save cannot write
    net.blocks[5].pool.pool = average(window)  # pytorchvideo's takes no maps that are smaller
    blocks = tuple(f"blocks.{stage}" for stage in range(5))
    kind = Classifier if window is None else _ByWindow
    return wrapped(net, "blocks.5.proj", num_classes, in_chans, blocks, kind=kind)


x3d_xs = variant(
    _x3d,
    "x3d_xs",
    "X3D-XS; 3.79 M parameters and 0.61 G multiply-adds at 400 classes and 3x4x160x160.",
    input_shape=(3, 4, 160, 160),
)
x3d_s = variant(
    _x3d,
    "x3d_s",
    "X3D-S; 3.79 M parameters and 1.96 G multiply-adds at 400 classes and 3x13x160x160.",
    input_shape=(3, 13, 160, 160),
)
x3d_m = variant(_x3d, "x3d_m", "X3D-M; 3.79 M parameters and 4.73 G multiply-adds at 400 classes and 3x16x224x224.")
x3d_l = variant(
    _x3d,
    "x3d_l",
    "X3D-L; 6.15 M parameters and 18.37 G multiply-adds at 400 classes and 3x16x312x312.",
    input_shape=(3, 16, 312, 312),
)
