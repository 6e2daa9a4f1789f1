"""VGG: nothing but 3x3 convolutions and five poolings (Simonyan and Zisserman 2015, table 1, configurations A, B, D and
E); torchvision's networks, with and without BatchNorm."""

from collections.abc import Sequence

import torchvision
from torch import nn

from zoo.models._arguments import check_extents
from zoo.models._base import Classifier, wrapped
from zoo.models._registry import variant
from zoo.models._vgg import resize_classifier


def _vgg(
    name: str,
    num_classes: int = 1000,
    in_chans: int = 3,
    input_shape: Sequence[int] = (3, 224, 224),
    hidden: int = 4096,
    pooled: int = 7,
    dropout: float = 0.5,
) -> Classifier:
    """Build torchvision's network.

    Args:
        input_shape: (C, H, W); checked only.
        hidden: width of FC6 and FC7, the paper's 4096; narrow is enough for small data.
        pooled: edge of the map that enters FC6, 7 in the paper; of 32x32 pixels 1 is left.
        dropout: after each of them.
    """
    check_extents(name, input_shape, (32, 32))  # five poolings
    net = getattr(torchvision.models, name)(dropout=dropout, num_classes=max(1, num_classes))
    resize_classifier(net, pooled, hidden)
    pools = [index for index, layer in enumerate(net.features) if isinstance(layer, nn.MaxPool2d)]
    return wrapped(
        net,
        "classifier.6",
        num_classes,
        in_chans,
        (*(f"features.{index}" for index in pools), "classifier.1", "classifier.4"),
        # timm turns the fully connected layers into convolutions.
        renames={
            "pre_logits.fc1.": "features.classifier.0.",
            "pre_logits.fc2.": "features.classifier.3.",
            "head.fc.": "head.",
        },
    )


vgg11 = variant(_vgg, "vgg11", "VGG-11 (configuration A); 132.86 M parameters, 7.61 G multiply-adds at 3x224x224.")
vgg11_bn = variant(
    _vgg, "vgg11_bn", "VGG-11 (configuration A) with BatchNorm; 132.87 M parameters, 7.61 G multiply-adds at 3x224x224."
)
vgg13 = variant(_vgg, "vgg13", "VGG-13 (configuration B); 133.05 M parameters, 11.31 G multiply-adds at 3x224x224.")
vgg13_bn = variant(
    _vgg, "vgg13_bn", "VGG-13 (configuration B) with BatchNorm; 133.05 M parameters, 11.31 G multiply-adds at 3x224x224."
)
vgg16 = variant(_vgg, "vgg16", "VGG-16 (configuration D); 138.36 M parameters, 15.47 G multiply-adds at 3x224x224.")
vgg16_bn = variant(
    _vgg, "vgg16_bn", "VGG-16 (configuration D) with BatchNorm; 138.37 M parameters, 15.47 G multiply-adds at 3x224x224."
)
vgg19 = variant(_vgg, "vgg19", "VGG-19 (configuration E); 143.67 M parameters, 19.63 G multiply-adds at 3x224x224.")
vgg19_bn = variant(
    _vgg, "vgg19_bn", "VGG-19 (configuration E) with BatchNorm; 143.68 M parameters, 19.63 G multiply-adds at 3x224x224."
)
