"""The contract of every classification network: features, then a head that can be replaced."""

from collections.abc import Mapping

from torch import Tensor, nn


class Classifier(nn.Module):
    """`features` turn an image or a clip into one vector, `head` turns the vector into class scores.

    The names are timm's: `num_features`, `num_classes`, `forward_features`, `forward_head`, `get_classifier`,
    `reset_classifier`.

    Attributes:
        features: named layers, ending in a vector of `num_features`.
        head: the last linear layer; `nn.Identity` where `num_classes` is 0.
        in_chans: channels of the input.
        blocks: names of the places in `features` from which features are usually taken, shallow to deep.
    """

    def __init__(
        self,
        features: Mapping[str, nn.Module],
        *,
        num_features: int,
        num_classes: int,
        in_chans: int,
        blocks: tuple[str, ...],
    ) -> None:
        super().__init__()
        self.features = nn.Sequential()
        for name, layer in features.items():
            self.features.add_module(name, layer)
        self.num_features = num_features
        self.in_chans = in_chans
        self.blocks = blocks
        self.reset_classifier(num_classes)

    def reset_classifier(self, num_classes: int) -> None:
        """Put a new head in place, untrained; with 0 classes the network ends in its features."""
        if num_classes < 0:
            raise ValueError(f"num_classes is {num_classes}; it must be positive, or 0 for no head.")
        self.num_classes = num_classes
        self.head: nn.Module = nn.Linear(self.num_features, num_classes) if num_classes else nn.Identity()

    def get_classifier(self) -> nn.Module:
        return self.head

    def forward_features(self, x: Tensor) -> Tensor:
        """(B, C, H, W) or (B, C, T, H, W) -> (B, num_features)."""
        features: Tensor = self.features(x)
        return features

    def forward_head(self, features: Tensor) -> Tensor:
        """(B, num_features) -> (B, num_classes), scores before the softmax."""
        scores: Tensor = self.head(features)
        return scores

    def forward(self, x: Tensor) -> Tensor:
        return self.forward_head(self.forward_features(x))
