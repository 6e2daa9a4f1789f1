"""The network of a configuration, without data."""

import contextlib
import inspect
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import InterpolationResolutionError

from zoo.common import trust
from zoo.run.compose import composed
from zoo.run.size import PAPER

if TYPE_CHECKING:
    from torch import nn


def untrained_net(overrides: Sequence[str]) -> "tuple[DictConfig, nn.Module, tuple[int, ...]]":
    """The configuration, the network and the input shape of the paper, with these overrides."""
    config = composed([f"size={PAPER}", *overrides])
    return config, network_of(config), tuple(config.input_shape)


def network_of(config: DictConfig) -> "nn.Module":
    """The network of a configuration, with random weights; arguments that depend on data which are not there keep their
    defaults."""
    from zoo.models import create_model

    net = create_model(config.model.name, **arguments_of(config))
    checkpoint_blocks(net, config)
    return net


def checkpoint_blocks(net: "nn.Module", config: DictConfig) -> None:
    """Save memory in training, if that is asked for. Raises ValueError where the network has no named blocks."""
    from zoo.models import Classifier

    if not config.activation_checkpointing:
        return
    if not isinstance(net, Classifier):
        raise ValueError(f"activation_checkpointing needs a network with named blocks; {config.model.name} has none.")
    net.checkpoint_blocks()


def arguments_of(config: DictConfig) -> dict[str, Any]:
    """The network's arguments that are known, as plain values, but for what it starts from."""
    from zoo.models._registry import get_builder

    known = inspect.signature(get_builder(config.model.name)).parameters.keys()
    return {key: value for key, value in _resolved(config.model).items() if key in known - trust.USERS["model"]}


def _resolved(node: DictConfig) -> dict[str, Any]:
    """A node as plain values, without those that refer to what is not there yet."""
    found: dict[str, Any] = {}
    for key in map(str, node):
        with contextlib.suppress(InterpolationResolutionError):
            value = node[key]
            plain = OmegaConf.to_container(value, resolve=True) if isinstance(value, ListConfig) else value
            found[key] = _resolved(value) if isinstance(value, DictConfig) else plain
    return found
