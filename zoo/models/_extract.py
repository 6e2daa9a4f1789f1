"""A network up to some of its layers, as torchvision's `create_feature_extractor` cuts it, and a plain network for all that."""

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

from torch import fx, nn
from torchvision.models.feature_extraction import DualGraphModule, create_feature_extractor

from zoo.models._weights import settle, settled_tensors


def extracted(net: nn.Module, layers: Mapping[str, str]) -> nn.Module:
    """Cut a network after some of its layers; it returns their outputs by the names that `layers` gives them.

    Raises what `torch.fx` raises where it cannot trace the network.
    """
    made: Any = create_feature_extractor(net, dict(layers))
    cut = _Extractor(made, made.train_graph, made.eval_graph, "Extractor")
    cut.train(made.training)
    settle(cut, settled_tensors(net) & cut.state_dict().keys())  # a tensor that no layer holds stands in a new place
    return cut


class _Extractor(DualGraphModule):  # type: ignore[misc]  # torchvision ships no types
    """torchvision's copies come back in training mode, and its saved ones forget the graph of the other mode."""

    def __deepcopy__(self, memo: dict[int, Any]) -> "_Extractor":
        copied: _Extractor = super().__deepcopy__(memo)
        return _as_it_was(copied, self)

    def _deepcopy_init(self) -> Any:
        return _Extractor.__init__

    def __reduce__(self) -> tuple[Any, ...]:
        parts = nn.Module()
        hidden = ("_graph", "train_graph", "eval_graph", "_code", "_lineno_map", "_prologue_start")
        vars(parts).update({name: value for name, value in vars(self).items() if name not in hidden})
        return _restored, (parts, deepcopy(self.train_graph), deepcopy(self.eval_graph))  # a copy does not know its module


def _restored(parts: nn.Module, train: fx.Graph, evaluation: fx.Graph) -> _Extractor:
    return _as_it_was(_Extractor(parts, train, evaluation, "Extractor"), parts)


def _as_it_was(new: _Extractor, old: nn.Module) -> _Extractor:
    """Copy the modes of another one with the same parts, and the notes on it."""
    new.train(old.training)
    for mine, its in zip(new.modules(), old.modules(), strict=True):
        mine.training = its.training
    settle(new, settled_tensors(old))
    return new
