"""The baselines: a linear classifier on pixels, and linear layers stacked with a ReLU between them.

(Stanford CS231n 2024, notes "Linear classification" and "Neural networks, part 1".) Without the ReLU a stack collapses
into one linear layer.
"""

import math
from collections.abc import Sequence

from torch import nn

from zoo.models._base import Classifier
from zoo.models._registry import variant


def _stacked(
    _: str,
    num_classes: int = 10,
    in_chans: int = 1,
    input_shape: Sequence[int] = (1, 28, 28),
    hidden: Sequence[int] = (512, 256),
) -> Classifier:
    layers: dict[str, nn.Module] = {"flatten": nn.Flatten()}
    features = in_chans * math.prod(input_shape[1:])
    for number, width in enumerate(hidden, start=1):
        layers[f"fc{number}"] = nn.Linear(features, width)
        layers[f"relu{number}"] = nn.ReLU(inplace=True)
        features = width
    blocks = ("flatten", *(f"relu{number}" for number in range(1, len(hidden) + 1)))
    return Classifier(layers, num_features=features, num_classes=num_classes, in_chans=in_chans, blocks=blocks)


linear = variant(
    _stacked,
    "linear",
    "Wx + b on the pixels; 7,850 parameters at 1x28x28, 10 classes. With the hinge loss it is a multiclass SVM.",
    without=["hidden"],
    hidden=(),
)
mlp = variant(_stacked, "mlp", "Linear layers of these widths, a ReLU after each; 535,818 parameters at 1x28x28, 10 classes.")
