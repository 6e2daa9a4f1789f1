"""AlexNet, one column (Krizhevsky 2014, "One weird trick for parallelizing convolutional neural networks"): torchvision's.

The network of 2012 has 96 first filters in two columns; this one has 64 in one.
"""

from collections.abc import Sequence

import torchvision

from zoo.models._arguments import check_extents
from zoo.models._base import Classifier, wrapped
from zoo.models._registry import register
from zoo.models._vgg import resize_classifier


@register
def alexnet(
    num_classes: int = 1000,
    in_chans: int = 3,
    input_shape: Sequence[int] = (3, 224, 224),
    hidden: int = 4096,
    pooled: int = 6,
    dropout: float = 0.5,
) -> Classifier:
    """AlexNet; 61.10 M parameters and 0.71 G multiply-adds at 3x224x224.

    Args:
        input_shape: (C, H, W); checked only.
        hidden: width of the two fully connected layers; 4096 is the paper's, a tenth of it is enough for small data.
        pooled: edge of the map that enters them, pixels; torchvision's is 6.
        dropout: before each of them.
    """
    check_extents("alexnet", input_shape, (63, 63))  # three poolings
    net = torchvision.models.alexnet(dropout=dropout, num_classes=max(1, num_classes))
    resize_classifier(net, pooled, hidden)
    blocks = ("features.2", "features.5", "features.12", "classifier.2", "classifier.5")
    return wrapped(net, "classifier.6", num_classes, in_chans, blocks)
