"""LeNet: two convolutions, two poolings, fully connected layers (LeCun et al. 1998, "Gradient-based learning applied to
document recognition"), in the two forms that are taught.

Neither is the network of the paper, which has tanh, trainable subsampling and partial connections (about 60,000
parameters).
"""

from collections.abc import Sequence

from torch import nn

from zoo.models._arguments import check_extents
from zoo.models._base import Classifier
from zoo.models._registry import variant

_FORMS = {"lenet5": ((6, 16), (120, 84)), "lenet_wide": ((20, 50), (500,))}
"""Filters of the convolutions, widths of the hidden layers."""


def _lenet(
    name: str, num_classes: int = 10, in_chans: int = 1, input_shape: Sequence[int] = (1, 28, 28), padding: int = 2
) -> Classifier:
    widths, hidden = _FORMS[name]
    least = 16 - 6 * padding  # two 5x5 convolutions with poolings
    check_extents(name, input_shape, (least, least))
    edges = list(input_shape[-2:])
    for _ in widths:
        edges = [(extent - 5 + 2 * padding + 1) // 2 for extent in edges]
    layers: dict[str, nn.Module] = {}
    channels = in_chans
    for number, width in enumerate(widths, start=1):
        layers[f"conv{number}"] = nn.Conv2d(channels, width, 5, padding=padding)
        layers[f"relu{number}"] = nn.ReLU(inplace=True)
        layers[f"pool{number}"] = nn.MaxPool2d(2)
        channels = width
    layers["flatten"] = nn.Flatten()
    features = channels * edges[0] * edges[1]
    for number, width in enumerate(hidden, start=1):
        layers[f"fc{number}"] = nn.Linear(features, width)
        layers[f"relu_fc{number}"] = nn.ReLU(inplace=True)
        features = width
    blocks = ("pool1", "pool2", *(f"relu_fc{number}" for number in range(1, len(hidden) + 1)))
    return Classifier(layers, num_features=features, num_classes=num_classes, in_chans=in_chans, blocks=blocks)


lenet5 = variant(
    _lenet,
    "lenet5",
    "LeNet-5 as the PyTorch tutorial's Net: 6 and 16 filters, FC 120, 84; 61,706 parameters at 1x32x32, 10 classes.",
    without=["padding"],
    input_shape=(1, 32, 32),
    padding=0,
)
lenet_wide = variant(
    _lenet,
    "lenet_wide",
    """LeNet of the layer-by-layer lecture (DeepRob 2024): 20 and 50 padded filters, FC 500; 1,256,080 parameters.

    `padding=0` is Caffe's own LeNet, with 431,080.
    """,
)
