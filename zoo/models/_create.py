"""From a name to a network: what it is built with, what it starts from, and what it says of itself."""

import contextlib
import inspect
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from zoo.common import hub, trust
from zoo.common.nested import flat, merged
from zoo.common.renaming import in_place
from zoo.common.signature import OPEN, parameters
from zoo.common.tensors import read_whole
from zoo.common.words import nearest, warn
from zoo.models._base import Classifier
from zoo.models._entries import get_weights
from zoo.models._entry import Weights
from zoo.models._list import list_models
from zoo.models._registry import BACKBONE, TIMM, get_builder
from zoo.models._start import BACKBONE_WEIGHTS, nothing, start_of, tensors_of
from zoo.models._weights import check_size, load_pretrained


def create_model(name: str, *, pretrained: str | Path | bool | Weights | Enum | None = None, **arguments: Any) -> nn.Module:
    """Build a network by name.

    Args:
        name: one of `list_models()`; `MODEL:TAG`, which is the model with the weights of that tag; `hf-hub:ORG/NAME`, a network
            that `zoo publish` put on Hugging Face; or `timm/NAME`, a network of timm's. Another one of torchvision's is
            `create_model("backbone", backbone=NAME)`.
        pretrained: what its weights start from:

            - True: the default of its published weights;
            - their tag in any case (`zoo.get_weights(name)` shows them) or as torchvision spells it (`IMAGENET1K_V1`,
              `ResNet18_Weights.IMAGENET1K_V1`, or that member itself), or a `Weights`;
            - another network's whose layers are in this one, `MODEL:TAG`, as `vgg16:imagenet1k_v1` for `fcn8s`;
            - a run folder or a checkpoint of this project: the network is then built with the run's own arguments, its classes
              among them, where others are not given here;
            - `hf-hub:ORG/NAME`, the tensors (`model.safetensors`) of a repository on Hugging Face;
            - a file of weights: a checkpoint of another project or a state dict, `.safetensors` or pickled (tensors and plain
              values only are ever unpickled);
            - None or False: nothing.

            What does not fit (a head of other classes, a layer sized by the input) keeps its fresh values; a warning names it,
            and what of the file has no place in the network.
        arguments: the model's own; `num_classes` and `in_chans` are common to all classifiers. What is not given is as
            the weights have it, or the builder's default. A network that is composed of another one takes `backbone_weights`
            in place of `pretrained`: the same spellings, for weights of the other one.

    Returns:
        The network. It carries its `recipe`, plain values from which it is built again, without its weights:
        `{"name": ..., "arguments": {every argument of its builder}, "weights": "MODEL:TAG" or None}`. One that was given an
        object (a network as backbone, a head of a detector) has none. With published weights it carries their `normalization`
        too, `{"mean": [...], "std": [...]}` of the channels, in 0..1.

    Raises:
        ValueError: a name, an argument or a file that does not exist, or weights of another network.
    """
    if str(name).startswith(hub.PREFIX):
        return _from_hub(name, pretrained, arguments)
    name, pretrained, arguments = _spelled(name, pretrained, arguments)
    builder = get_builder(name)
    arguments = in_place(arguments, parameters(builder), told=name)
    checkpointing = _former(builder, arguments)
    _check_arguments(name, builder, arguments)
    begun = start_of(name, {**arguments, "pretrained": pretrained})
    whole = begun if nothing(arguments.get(BACKBONE_WEIGHTS)) else None  # else the builder loads it
    if isinstance(whole, Path):
        tensors, beside = read_whole(whole)
        net, arguments = _continued(name, builder, arguments, whole, tensors, beside.get("zoo"))
    else:
        file = whole.path() if whole else None  # before a network is built for it
        if whole and whole.model == name:
            stated = _published(whole, builder)
            arguments = stated | {key: each for key, each in arguments.items() if each is not None or key not in stated}
        net = _built(name, builder, arguments)
        if file and whole:
            load_pretrained(net, file, name, tensors_of(whole, file))
    if checkpointing and isinstance(net, Classifier):
        net.checkpoint_blocks()
    _describe(net, name, builder, arguments, None if isinstance(whole, Path) else whole)
    if isinstance(begun, Weights) and (normalization := begun.normalization(getattr(net, "in_chans", len(begun.mean)))):
        vars(net)["normalization"] = normalization  # for a task that is told of none
    return net


def _spelled(name: str, pretrained: Any, arguments: dict[str, Any]) -> tuple[str, Any, dict[str, Any]]:
    """Part `MODEL:TAG` and `timm/NAME` into the name of a model, weights and arguments."""
    if not isinstance(name, str):
        raise ValueError(f"A model is asked for by its name, not by {name!r}; {nearest('', list_models())}")
    model, colon, tag = name.partition(":")
    if colon:
        if pretrained is not None:
            raise ValueError(f"{name} says already which weights {model} starts from. Leave pretrained={pretrained} out.")
        entry = get_weights(model, tag)
        return entry.model, entry, arguments
    if name.startswith(TIMM):
        if BACKBONE in arguments:
            raise ValueError(f"{name} is the backbone already. Leave backbone={arguments[BACKBONE]} out.")
        return BACKBONE, pretrained, {BACKBONE: name, **arguments}
    if name not in list_models() and (elsewhere := _elsewhere(name)):
        raise ValueError(f"There is no model {name!r} here; {elsewhere}")
    return name, pretrained, arguments


def _elsewhere(name: str) -> str:
    """Say which library has a network of a name that is not registered, as the end of a sentence."""
    import timm
    import torchvision

    if name in torchvision.models.list_models(torchvision.models):
        return f'torchvision\'s is create_model("{BACKBONE}", {BACKBONE}="{name}").'
    return f'timm\'s is create_model("{TIMM}{name}").' if timm.is_model(name) else ""


def _former(builder: Callable[..., nn.Module], arguments: dict[str, Any]) -> bool:
    """Take out what was an argument of some builders: whether to save memory in training."""
    if "checkpointing" not in arguments or not {OPEN, "checkpointing"}.isdisjoint(parameters(builder)):
        return False
    warn("checkpointing is no argument of a network: call its checkpoint_blocks(), or set activation_checkpointing in a run.")
    return bool(arguments.pop("checkpointing"))


def _check_arguments(name: str, builder: Callable[..., nn.Module], arguments: Mapping[str, Any]) -> None:
    known = inspect.signature(builder).parameters
    if any(each.kind is inspect.Parameter.VAR_KEYWORD for each in known.values()):
        return
    for argument in arguments:
        if argument not in known:
            raise ValueError(f"{name} takes no argument {argument!r}; {nearest(argument, known)}")


def _built(name: str, builder: Callable[..., nn.Module], arguments: Mapping[str, Any]) -> nn.Module:
    try:
        inspect.signature(builder).bind(**arguments)
    except TypeError as error:
        raise ValueError(f"{name} cannot be built: {error}. Give it, or a default to the builder's argument.") from None
    return builder(**arguments)


def _published(entry: Weights, builder: Callable[..., nn.Module]) -> dict[str, Any]:
    """Return the arguments with which published weights were trained."""
    shape = entry.input_shape
    own = {"num_classes": entry.num_classes, "in_chans": shape[0], "input_shape": shape, **entry.arguments}
    return {key: value for key, value in own.items() if key in inspect.signature(builder).parameters}


def _from_hub(place: str, pretrained: object, arguments: dict[str, Any]) -> nn.Module:
    """Build a published network with its weights. Raises ValueError."""
    if not nothing(pretrained) or not nothing(arguments.get(BACKBONE_WEIGHTS)):
        raise ValueError(f"{place} has its weights. Leave pretrained and {BACKBONE_WEIGHTS} out.")
    recipe, tensors = hub.read_published(place)
    name = recipe["names"].get("model")
    builder = get_builder(name) if isinstance(name, str) and name in list_models() else None
    if builder is None:
        raise ValueError(f"{place} names a model {name!r}, which is not here. If a file of your own defines it, import it.")
    arguments = in_place(arguments, parameters(builder), told=name)
    _check_arguments(name, builder, arguments)
    own = {key: value for key, value in tensors.items() if not key.startswith(hub.TASK)}
    net, arguments = _continued(name, builder, arguments, place, own, recipe)
    _describe(net, name, builder, arguments, None)
    facts = {key: recipe["facts"].get(key) for key in ("mean", "std")}
    if all(isinstance(values, list) and len(values) == getattr(net, "in_chans", 3) for values in facts.values()):
        vars(net)["normalization"] = facts
    return net


def _continued(
    name: str,
    builder: Callable[..., nn.Module],
    arguments: dict[str, Any],
    path: str | Path,
    tensors: Mapping[str, Tensor],
    recipe: object,
) -> tuple[nn.Module, dict[str, Any]]:
    """Build a network with a file's weights; return its arguments too. A run's recipe says how, where the user does not."""
    with trust.naming_later_version(recipe, path):
        if own := _stated(recipe, name, builder, arguments):
            arguments = merged(own, arguments)
            check_size(tensors, lambda: _built(name, builder, arguments), path)
        net = _built(name, builder, arguments)
        load_pretrained(net, path, name, tensors)
    return net, arguments


def _stated(recipe: object, name: str, builder: Callable[..., nn.Module], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments that a checkpoint's recipe states and the user does not, as far as `zoo.common.trust` lets it;
    none where the recipe is another network's, or there is none. Raises ValueError."""
    if not isinstance(recipe, dict):
        return {}
    parts = [recipe.get(part) for part in ("names", "arguments")]
    names, values = (part.get("model") if isinstance(part, dict) else None for part in parts)
    known = inspect.signature(builder).parameters
    if names != name or not isinstance(values, dict) or not known.keys() - given.keys() - trust.USERS["model"]:
        return {}
    return trust.decided("model", values, {*known, "name", *trust.USERS["model"]}, {*flat(given), "name"})


def _describe(
    net: nn.Module, name: str, builder: Callable[..., nn.Module], arguments: Mapping[str, Any], entry: Weights | None
) -> None:
    """Note on a network what builds it again, without the place of weights that a part started from: the network has them."""
    signature = inspect.signature(builder)
    bound = signature.bind(**arguments)
    bound.apply_defaults()
    complete = vars(net).pop("options", {})
    values = {key: complete.get(key, value) for key, value in bound.arguments.items()}
    for key, parameter in signature.parameters.items():
        if parameter.kind is inspect.Parameter.VAR_KEYWORD:
            values |= values.pop(key)
    with contextlib.suppress(TypeError):
        vars(net)["recipe"] = {
            "name": name,
            "arguments": {key: None if key == BACKBONE_WEIGHTS else _plain(value) for key, value in values.items()},
            "weights": f"{entry.model}:{entry.tag}" if entry else None,
        }


def _plain(value: Any) -> Any:
    """Reduce a value to numbers, words, None, and lists and dictionaries of them. Raises TypeError for an object."""
    if value is None or type(value) in (bool, int, float, str):
        return value
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(each) for each in value]
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    raise TypeError(f"{value!r} is no plain value")
