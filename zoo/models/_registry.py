"""Names to builders. A file of this folder registers its builders by existing: nothing else lists them."""

import contextlib
import fnmatch
import functools
import importlib
import inspect
import pkgutil
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from torch import nn

from zoo.models._entries import Weights, entries_of, entry_named, full_name
from zoo.models._weights import load_pretrained
from zoo.words import nearest

Builder = TypeVar("Builder", bound=Callable[..., nn.Module])

_BUILDERS: dict[str, Callable[..., nn.Module]] = {}


def register(builder: Builder) -> Builder:
    """Make a builder known by its function's name. Its keyword arguments are the model's, and its docstring is shown."""
    name = builder.__name__
    if name in _BUILDERS:
        raise AssertionError(f"two models are called {name}: {_BUILDERS[name].__module__} and {builder.__module__}")
    _BUILDERS[name] = builder
    return builder


@functools.cache
def _discover() -> None:
    """Import every file of the folder once; its decorators do the rest."""
    for module in pkgutil.iter_modules([str(Path(__file__).parent)]):
        if not module.name.startswith("_"):
            importlib.import_module(f"zoo.models.{module.name}")


def list_models(pattern: str | Sequence[str] = "*") -> list[str]:
    """The names of all models, or of those that match a shell pattern (`"vgg*"`) or any of several."""
    _discover()
    patterns = [pattern] if isinstance(pattern, str) else pattern
    return sorted(name for name in _BUILDERS if any(fnmatch.fnmatchcase(name, each) for each in patterns))


def get_builder(name: str) -> Callable[..., nn.Module]:
    """The builder of a name. A name that does not exist is a ValueError with the nearest ones."""
    _discover()
    if name not in _BUILDERS:
        raise ValueError(f"There is no model {name!r}; {nearest(name, _BUILDERS)}")
    return _BUILDERS[name]


def create_model(name: str, *, pretrained: str | Path | None = None, **arguments: Any) -> nn.Module:
    """Build a network by name.

    Args:
        name: one of `list_models()`.
        pretrained: the tag of published weights in any case (`zoo.get_weights(name)` shows them), or "default"; those of
            another network whose layers are in this one, `MODEL:TAG`, as `vgg16:imagenet1k_v1` for `fcn8s`; or a file of
            weights: a checkpoint of this project's or another's or a state dict, `.safetensors` or pickled (tensors only
            are ever unpickled). What does not fit (a head of other classes, a layer sized by the input) keeps
            its fresh values; a warning names it, and what of the file has no place in the network.
        arguments: the model's own; `num_classes` and `in_chans` are common to all classifiers. What is not given is as
            the published weights have it, or the builder's default.

    The network carries its `recipe`, plain values from which it is built again, without its weights:
    `{"name": ..., "arguments": {every argument of its builder}, "weights": "MODEL:TAG" or None}`. One that was given an
    object (a network as backbone, a head of a detector) has none.

    Raises:
        ValueError: a name, an argument or a file that does not exist, or weights of another network.
    """
    builder = get_builder(name)
    known = inspect.signature(builder).parameters
    for argument in arguments:
        if argument not in known:
            raise ValueError(f"{name} takes no argument {argument!r}; {nearest(argument, known)}")
    file = None if pretrained is None else weights_file(name, pretrained)  # before a network is built for it
    entry = entry_named(name, pretrained)
    if entry and entry.model == name:
        shape = entry.input_shape
        own = {"num_classes": entry.num_classes, "in_chans": shape[0], "input_shape": shape, **entry.arguments}
        arguments = {key: value for key, value in own.items() if key in known} | arguments
    net = builder(**arguments)
    if file is not None:
        load_pretrained(net, file, name)
    _describe(net, name, arguments, entry)
    return net


def _describe(net: nn.Module, name: str, arguments: Mapping[str, Any], entry: Weights | None) -> None:
    """Note on a network what builds it again. Weights that a part began from are in the network: their place is left out."""
    bound = inspect.signature(get_builder(name)).bind(**arguments)
    bound.apply_defaults()
    with contextlib.suppress(TypeError):
        values = {key: None if key == "backbone_weights" else _plain(value) for key, value in bound.arguments.items()}
        vars(net)["recipe"] = {
            "name": name,
            "arguments": values,
            "weights": f"{entry.model}:{entry.tag}" if entry else None,
        }


def _plain(value: Any) -> Any:
    """Numbers, words, None, and lists of them. Raises TypeError for an object."""
    if value is None or type(value) in (bool, int, float, str):
        return value
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(each) for each in value]
    raise TypeError(f"{value!r} is no plain value")


def weights_file(name: str, pretrained: str | Path) -> Path:
    """The file of a tag or of `MODEL:TAG`, downloaded if it has to be, or of a path. Raises ValueError."""
    check_pretrained(name, pretrained)
    entry = entry_named(name, pretrained)
    return entry.path() if entry else Path(pretrained)


def check_pretrained(name: str, pretrained: object) -> None:
    """Raises ValueError where it is neither a tag of the model's weights, nor `MODEL:TAG`, nor a file's name."""
    if pretrained is None or entry_named(name, pretrained):
        return
    if str(pretrained).lower() in ("true", "false"):  # as a setting
        entries = entries_of(name)
        there = f"one of {', '.join(entries)}, or" if entries else "of which there are none published, but"
        raise ValueError(f"pretrained is {str(pretrained).lower()}; for {name} it takes the tag of weights, {there} a file.")
    named = full_name(pretrained)
    other, tag = named or (name, str(pretrained))
    if not named and (not re.fullmatch(r"\w+", tag) or Path(tag).is_file()):
        return  # a file, there or not
    if other not in list_models():
        what, ending = f"there is no model {other!r}", nearest(other, list_models())
    else:
        entries = entries_of(other)
        what = f"{other} has no weights {tag!r}"
        ending = nearest(tag, entries) if entries else "it has no published weights; another network's are MODEL:TAG."
    raise ValueError(f"pretrained is {pretrained}, but {what}, nor is there a file of that name; {ending}")
