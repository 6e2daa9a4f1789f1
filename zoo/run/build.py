"""From a configuration to objects: the data, and the task with its network. The facts of the data stand between them."""

import typing
from typing import TYPE_CHECKING, Any

from hydra.utils import instantiate
from omegaconf import DictConfig, open_dict

from zoo.common import trust
from zoo.run import facts
from zoo.run.check import _OF_ALL_MODELS, check_fit, check_outputs, check_parts, check_values, located, speaking_of
from zoo.run.network import checkpoint_blocks
from zoo.run.transfer import ways_out

if TYPE_CHECKING:
    from torch import nn

    from zoo.data.base import DataModule
    from zoo.tasks.base import Task


def make(node: DictConfig, place: str) -> Any:
    """Instantiate what a node describes, as a partial to be completed; its values are checked against the signature."""
    check_values(located(node._target_), node, place)
    return instantiate(node, _partial_=True, _convert_="all")


def build_data(config: DictConfig) -> "DataModule":
    """The data module, its files not looked at yet."""
    check_parts(config)
    check_fit(config)
    with speaking_of(config, "data"):
        return typing.cast("DataModule", make(config.data, "data")())


def build_task(config: DictConfig, *, anew: bool = True, net: "nn.Module | None" = None) -> "Task":
    """The network and the task around it; the data set's facts must be published.

    Args:
        anew: whether the network starts from `model.pretrained` or `model.backbone_weights`; a checkpoint's has its own
            weights.
        net: the network, where it is built already.
    """
    from zoo.models._registry import get_builder

    facts.settle(config)
    own = {str(key): value for key, value in config.model.items() if key not in _OF_ALL_MODELS}
    check_values(get_builder(config.model.name), own, "model")
    check_outputs(config)
    if net is None:
        with ways_out(config), speaking_of(config, "model"):
            start = trust.USERS["model"] & {"pretrained", *map(str, config.model)}
            net = make(config.model, "model")(**({} if anew else dict.fromkeys(start)))
        checkpoint_blocks(net, config)
    for metric in config.task.get("metrics") or ():
        if isinstance(metric, DictConfig):
            with open_dict(metric):
                metric._partial_ = True  # the task knows the number of classes
    with speaking_of(config, "task"):
        return typing.cast("Task", make(config.task, "task")(net=net))
