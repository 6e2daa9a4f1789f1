"""R3D: a ResNet whose 3x3 convolutions are 3x3x3 (Tran et al. 2018, "A closer look at spatiotemporal convolutions for
action recognition", section 3); torchvision's network."""

from collections.abc import Sequence

import torchvision

from zoo.models._arguments import ClipStem, check_choice
from zoo.models._base import Classifier, wrapped
from zoo.models._registry import register


@register
def r3d_18(
    num_classes: int = 400,
    in_chans: int = 3,
    input_shape: Sequence[int] = (3, 16, 112, 112),
    stem: ClipStem = "paper",
) -> Classifier:
    """R3D-18; 33.37 M parameters and 40.70 G multiply-adds at 400 classes and 3x16x112x112.

    Args:
        num_classes: 400 is Kinetics.
        input_shape: (C, T, H, W); any is read.
        stem: "paper" begins with stride 2 in space, "small" with stride 1, for frames of few pixels. The weights are the
            same.
    """
    check_choice("stem", stem, ClipStem)
    net = torchvision.models.video.r3d_18(num_classes=max(1, num_classes))
    if stem == "small":
        net.stem[0].stride = (1, 1, 1)
    blocks = ("layer1", "layer2", "layer3", "layer4")
    return wrapped(net, "fc", num_classes, in_chans, blocks)
