"""What a network starts from: from `pretrained`, and `backbone_weights` of what is composed of another network, to a file."""

import inspect
import os
import re
from collections.abc import Callable, Mapping
from enum import Enum
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from torch import Tensor, nn

from zoo.common.hub import is_published, published_weights
from zoo.common.places import checkpoint_of
from zoo.common.signature import parameters
from zoo.common.tensors import read_tensors
from zoo.common.words import nearest
from zoo.models._entries import entries_of, entry_named, full_name
from zoo.models._entries_timm import as_timm_reads
from zoo.models._entries_torchvision import as_torchvision_reads
from zoo.models._entry import Weights
from zoo.models._list import list_models
from zoo.models._registry import BACKBONE, TIMM, bound, get_builder, presented
from zoo.models._weights import load_pretrained

Arguments = ParamSpec("Arguments")
Net = TypeVar("Net", bound=nn.Module)

PRETRAINED = "pretrained"
BACKBONE_WEIGHTS = "backbone_weights"


def start_of(name: str, given: Mapping[str, Any]) -> Weights | Path | None:
    """Find what a network starts from: published weights, a file, or nothing.

    Args:
        name: the network's.
        given: its arguments, `pretrained` and `backbone_weights` among them.

    Raises:
        ValueError: they name no weights, or both are given.
    """
    whole, part = given.get(PRETRAINED), given.get(BACKBONE_WEIGHTS)
    if nothing(part):
        return chosen(_network(name, given), whole)
    if not nothing(whole):
        raise ValueError(
            f"{PRETRAINED} is {whole} and {BACKBONE_WEIGHTS} is {part}, but a backbone starts from one of them. Leave one out."
        )
    return chosen(_backbone_name(name, given), part, BACKBONE_WEIGHTS)


def _network(name: str, given: Mapping[str, Any]) -> str:
    """The network whose weights are meant: of the model `backbone` the one that it is."""
    return str(given.get(BACKBONE) or parameters(get_builder(name))[BACKBONE].default) if name == BACKBONE else name


def tensors_of(entry: Weights, path: Path) -> Mapping[str, Tensor]:
    """The tensors of published weights' file, under the names by which their publisher's network knows them. Raises
    ValueError."""
    tensors = read_tensors(path)
    if entry.model != BACKBONE:
        return tensors
    read = as_timm_reads if str(entry.arguments[BACKBONE]).startswith(TIMM) else as_torchvision_reads
    return read(entry, tensors)


def check_start(name: str, given: Mapping[str, Any]) -> None:
    """Refuse what `start_of` refuses; a file need not exist yet. Raises ValueError."""
    check_pretrained(_network(name, given), given.get(PRETRAINED))
    if not nothing(given.get(BACKBONE_WEIGHTS)):
        check_pretrained(_backbone_name(name, given), given[BACKBONE_WEIGHTS], BACKBONE_WEIGHTS)


def weights_file(name: str, said: object, key: str = PRETRAINED) -> Path:
    """Return the file that `pretrained` of `create_model` names; download it if need be. Raises ValueError."""
    found = chosen(name, said, key)
    if found is None:
        raise ValueError(f"{key} is {said}, which names no weights of {name}.")
    return found.path() if isinstance(found, Weights) else found


def check_pretrained(name: str, said: object, key: str = PRETRAINED) -> None:
    """Refuse what names no weights; a file need not exist yet. Raises ValueError."""
    if not nothing(said) and entry_named(name, said) is None:
        _check_named(name, said, key)


def chosen(name: str, said: object, key: str = PRETRAINED) -> Weights | Path | None:
    """Find published weights, a file, or nothing. Raises ValueError.

    Args:
        key: the argument that names them, for the sentence.
    """
    if nothing(said):
        return None
    if entry := entry_named(name, said):
        return entry
    _check_named(name, said, key)
    if is_published(said):
        return published_weights(str(said))
    path = Path(str(said))
    if not path.exists():
        path = Path(os.path.expanduser(path))  # noqa: PTH111 (Path's fails where there is no such user)
    return checkpoint_of(path) if path.is_dir() else path


def nothing(said: object) -> bool:
    """Whether an argument names no weights."""
    return said is None or str(said).lower() == "false"


def _check_named(name: str, said: object, key: str) -> None:
    """Refuse what is neither a tag of the model's weights, nor `MODEL:TAG`, nor a file's name."""
    if not isinstance(said, str | Path | bool | Enum):
        raise ValueError(f"{key} is {said!r}; it is true, the tag of weights, a file or the folder of a run.")
    if str(said).lower() == "true":
        raise ValueError(
            f"{key} is true, but {name} has no published weights; those that have some are "
            f"{', '.join(list_models(pretrained=True))}. Give a file or a run, or another network's weights as MODEL:TAG."
        )
    named = full_name(said)
    other, tag = named or (name, str(said))
    path = Path(str(said))
    if not named and (not re.fullmatch(r"\w+", tag) or path.exists()):
        return  # a file or a folder, there or not
    entries = entries_of(other)
    if other not in list_models() and not entries:
        what, ending = f"there is no model {other!r}", nearest(other, list_models())
    else:
        what = f"{other} has no weights {tag!r}"
        ending = nearest(tag, entries) if entries else "it has no published weights; another network's are MODEL:TAG."
    raise ValueError(f"{key} is {said}, but {what}, nor is there a file of that name; {ending}")


# Of a backbone


def on_backbone(name: str, with_norm: str | None = None) -> Callable[[Callable[Arguments, Net]], Callable[..., Net]]:
    """Decorate the builder of a network whose layers begin as another one's, under names that its `renames` know: it takes
    `backbone_weights` too.

    Args:
        name: the other network's.
        with_norm: that of its form with BatchNorm, which is the other one where the argument `norm` is true.
    """

    def decorate(builder: Callable[Arguments, Net]) -> Callable[..., Net]:
        told = inspect.signature(builder)
        hint = str | bool | None
        extra = inspect.Parameter(BACKBONE_WEIGHTS, inspect.Parameter.POSITIONAL_OR_KEYWORD, default=None, annotation=hint)
        signature = told.replace(parameters=[*told.parameters.values(), extra])

        def built(*args: Any, **kwargs: Any) -> Net:
            own = bound(signature, builder.__name__, args, kwargs)
            weights = own.pop(BACKBONE_WEIGHTS)
            net = builder(**own)  # type: ignore[call-arg]
            load_backbone(net, backbone_of(network, own), weights, type(net).__name__)
            return net

        network: Callable[..., Net] = presented(built, builder, signature)
        vars(network)["on_backbone"] = (name, with_norm)
        return network

    return decorate


def backbone_of(builder: Callable[..., nn.Module], given: Mapping[str, Any]) -> object:
    """Return the network that one of this builder and these arguments is composed of: its name, or itself."""

    def value(key: str) -> Any:
        return given[key] if key in given else parameters(builder)[key].default

    name, with_norm = getattr(builder, "on_backbone", (None, None))
    if name is None:
        return value("backbone")
    return with_norm if with_norm and value("norm") else name


def _backbone_name(name: str, given: Mapping[str, Any]) -> str:
    builder = get_builder(name)
    if BACKBONE_WEIGHTS not in parameters(builder):
        raise ValueError(f"{name} is composed of no other network, so it takes no {BACKBONE_WEIGHTS}. Set {PRETRAINED}.")
    backbone = backbone_of(builder, given)
    if not isinstance(backbone, str):
        raise ValueError(_BY_NAME)
    return backbone


_BY_NAME = "backbone_weights are for a backbone by name. Load those of a network before it is handed over."


def load_backbone(net: nn.Module, backbone: object, weights: object, name: str | None = None) -> None:
    """Start a network, or what it has of its backbone, from weights of the latter; see `load_pretrained`.

    Args:
        backbone: the name of the network whose weights these are.
        weights: as of `pretrained`: true, a tag, `MODEL:TAG`, a file, a run; or nothing.
        name: of the network that takes them, for what is said; the backbone's by default.

    Raises:
        ValueError: there are no such weights, they do not fit, or the backbone is no name.
    """
    if nothing(weights):
        return
    if not isinstance(backbone, str):
        raise ValueError(_BY_NAME)
    found = chosen(backbone, weights, BACKBONE_WEIGHTS)
    if isinstance(found, Weights):
        path = found.path()
        load_pretrained(net, path, name or backbone, tensors_of(found, path))
    elif found:
        load_pretrained(net, found, name or backbone)
