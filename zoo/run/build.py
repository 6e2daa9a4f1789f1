"""From a configuration to objects: data, facts, network, task."""

import contextlib
import inspect
import typing
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from hydra.utils import instantiate
from omegaconf import DictConfig, ListConfig, OmegaConf, open_dict
from omegaconf.errors import InterpolationResolutionError

from zoo.common import trust
from zoo.run import transfer
from zoo.run.check import _OF_ALL_MODELS, check_fit, check_parts, check_values, located, speaking_of
from zoo.run.compose import composed
from zoo.run.size import PAPER

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


def facts_of(data: "DataModule") -> dict[str, Any]:
    """What the data set owns and others read: published in the configuration as `${data.NAME}`, carried by the checkpoint."""
    for name in data.class_names:
        if not trust.harmless(name):  # it would be read as a reference to a setting, or to the environment
            raise ValueError(f"A class is called {name!r}; a name may not hold ${{. Rename it.")
    return {
        "num_classes": data.num_classes,
        "class_names": list(data.class_names),
        "mean": list(data.mean),
        "std": list(data.std),
        "shape": list(data.shape),
        **{name: _listed(getattr(data, name)) for name in data.facts},
    }


def _listed(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def pretrained_facts(config: DictConfig, own: Mapping[str, Any]) -> dict[str, Any]:
    """The mean and deviation that published weights were trained with, where the run starts from some; else nothing."""
    from zoo.models._entries import entry_named

    entry = entry_named(config.model.name, config.model.get("pretrained"))
    return {**entry.normalization(int(config.data.shape[0]), own)} if entry else {}


def publish(config: DictConfig, facts: Mapping[str, Any]) -> None:
    with open_dict(config.data):
        config.data.update(facts)


def scale_rate(config: DictConfig, world_size: int) -> int:
    """Scale the learning rate, once, by the samples of a step over all devices and the recipe's reference batch; return these
    samples.

    (The linear scaling rule: Goyal et al. 2017, section 2.1.)
    """
    effective = int(config.data.batch_size) * world_size * int(config.trainer.accumulate_grad_batches)
    if config.reference_batch is not None:
        if config.reference_batch < 1:
            raise ValueError(f"reference_batch is {config.reference_batch}; it is a number of samples, at least 1.")
        config.optimizer.lr = config.optimizer.lr * effective / config.reference_batch
    return effective


def fetch_weights(config: DictConfig) -> None:
    """Download the published weights that a run starts from, before anything is built. Raises ValueError."""
    from zoo.models._create import weights_file

    if pretrained := config.model.get("pretrained"):
        with _ways_out(config):
            weights_file(config.model.name, pretrained)


def _ways_out(config: DictConfig) -> contextlib.AbstractContextManager[None]:
    return transfer.ways_out(config.model, config.freeze, config.size)


def build_task(config: DictConfig, *, anew: bool = True) -> "Task":
    """The network and the task around it; the data set's facts must be published.

    Args:
        anew: whether the network starts from `model.pretrained`; a checkpoint's has the checkpoint's weights.
    """
    from zoo.models._registry import get_builder

    own = {str(key): value for key, value in config.model.items() if key not in _OF_ALL_MODELS}
    check_values(get_builder(config.model.name), own, "model")
    _check_outputs(config)
    with _ways_out(config), speaking_of(config, "model"):
        net: nn.Module = make(config.model, "model")(**({} if anew else {"pretrained": None}))
    _checkpoint(net, config)
    for metric in config.task.get("metrics") or ():
        if isinstance(metric, DictConfig):
            with open_dict(metric):
                metric._partial_ = True  # the task knows the number of classes
    with speaking_of(config, "task"):
        task = make(config.task, "task")(net=net)
    return typing.cast("Task", task)


def _check_outputs(config: DictConfig) -> None:
    """Refuse fewer outputs than classes, whose labels would be out of range, and means of another number of channels."""
    for name in ("mean", "std"):
        if len(config.task[name]) not in (1, channels := int(config.data.shape[0])):
            raise ValueError(f"task.{name} is {list(config.task[name])}; it has a number for each of {channels} channels.")
    needed = int(config.data.num_classes)
    where = f"the data have {needed} classes"
    if (own := config.task.get("num_outputs")) is not None:
        if own < needed and located(config.task._target_).target != "none":
            raise ValueError(f"task.num_outputs is {own}, but {where}. Leave it out, and there are as many.")
        needed, where = int(own), f"the task has {own} classes"
    has = config.model.get("num_classes")
    if has is not None and has < needed:
        raise ValueError(f"model.num_classes is {has}, but {where}. Leave it out, and the network has as many.")


def untrained_net(overrides: Sequence[str]) -> "tuple[DictConfig, nn.Module, tuple[int, ...]]":
    """The configuration, the network and the input shape of the paper, with these overrides."""
    config = composed([f"size={PAPER}", *overrides])
    return config, network_of(config), tuple(config.input_shape)


def network_of(config: DictConfig) -> "nn.Module":
    """The network of a configuration, with random weights; arguments that depend on data which are not there keep their
    defaults."""
    from zoo.models import create_model

    net = create_model(config.model.name, **arguments_of(config))
    _checkpoint(net, config)
    return net


def _checkpoint(net: "nn.Module", config: DictConfig) -> None:
    """Save memory in training, if that is asked for. Raises ValueError where the network has no named blocks."""
    from zoo.models import Classifier

    if not config.activation_checkpointing:
        return
    if not isinstance(net, Classifier):
        raise ValueError(f"activation_checkpointing needs a network with named blocks; {config.model.name} has none.")
    net.checkpoint_blocks()


def arguments_of(config: DictConfig) -> dict[str, Any]:
    """The network's arguments that are known, as plain values."""
    from zoo.models._registry import get_builder

    known = inspect.signature(get_builder(config.model.name)).parameters
    return {key: value for key, value in _resolved(config.model).items() if key in known}


def _resolved(node: DictConfig) -> dict[str, Any]:
    """A node as plain values, without those that refer to what is not there yet."""
    found: dict[str, Any] = {}
    for key in map(str, node):
        with contextlib.suppress(InterpolationResolutionError):
            value = node[key]
            plain = OmegaConf.to_container(value, resolve=True) if isinstance(value, ListConfig) else value
            found[key] = _resolved(value) if isinstance(value, DictConfig) else plain
    return found
