"""Names of heads to heads: their registry, and a detector's list of them with their options."""

import inspect
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from zoo.common.signature import parameters
from zoo.common.words import nearest
from zoo.models._head import Detections as Detections
from zoo.models._head import Head as Head
from zoo.models._head import Regions as Regions
from zoo.models._head import Size as Size
from zoo.models._region_heads import BoxHead, KeypointHead, MaskHead

SomeHead = TypeVar("SomeHead", bound=Head)
Options = Mapping[str, Any]

BOX = BoxHead.name
HEADS: dict[str, type[Head]] = {head.name: head for head in (BoxHead, MaskHead, KeypointHead)}
"""Heads by name, for `heads` and `head_options` in a YAML or on a command line."""


def register_head(head: type[SomeHead]) -> type[SomeHead]:
    """Register a head by its `name`, so that `heads` can name it, in a YAML and on a command line too. The arguments of its
    constructor are options, `head_options: {NAME: {...}}`; those that have no default must be given.

    Raises:
        ValueError: it has no name, or another head has the name.
    """
    name = getattr(head, "name", None)
    if not isinstance(name, str) or not name.isidentifier():
        raise ValueError(f'The head {head.__qualname__} is named {name!r}. Give it a name, a plain word: name = "mine".')
    known = HEADS.get(name)
    if known and (known.__module__, known.__qualname__) != (head.__module__, head.__qualname__):
        raise ValueError(f"There is a head {name} already, so {head.__qualname__} cannot be registered. Give it another name.")
    HEADS[name] = head
    return head


def head_named(name: str) -> type[Head]:
    """Return the head of a name. Raises ValueError with the nearest names where there is none."""
    if name not in HEADS:
        raise ValueError(f"There is no head {name!r}; {nearest(str(name), HEADS)}")
    return HEADS[name]


def check_options(target: Any, options: Any, whose: str) -> None:
    """Refuse options that a head, or another part of a detector, does not take. Raises ValueError.

    Args:
        target: whose constructor takes them.
        whose: the part, for the sentence.
    """
    if not isinstance(options, Mapping):
        raise ValueError(f"The options of {whose} are {options!r}; they are names with values.")
    known = parameters(target)
    for name in options:
        if name not in known:
            ending = nearest(str(name), known) if known else "it has none."
            raise ValueError(f"{whose[0].upper()}{whose[1:]} takes no option {name!r}; {ending}")


def completed(target: Any, options: Options, whose: str) -> dict[str, Any]:
    """All options of a part: those that are given, the others as its constructor's defaults have them. Raises ValueError."""
    check_options(target, options, whose)
    values = {name: options.get(name, each.default) for name, each in parameters(target).items()}
    if missing := [name for name, value in values.items() if value is inspect.Parameter.empty]:
        raise ValueError(f"{whose[0].upper()}{whose[1:]} has no {missing[0]}, and there is no default. Give it by its options.")
    return values


def chosen(heads: Sequence[str | Head], options: Mapping[str, Options] | None) -> tuple[list[Head], dict[str, Options]]:
    """Build a detector's heads; return them with all options that decide about those which are named.

    Args:
        heads: names, or heads; the head of boxes is the first.
        options: by the name of a head, those of its constructor. Of heads that are not in the list they decide nothing.

    Raises:
        ValueError: an unknown name, one twice, no head of boxes, or an option that the head does not take.
    """
    names = [head if isinstance(head, str) else head.name for head in heads]
    if not names or names[0] != BOX or len(set(names)) < len(names):
        raise ValueError(f"model.heads is {names}; it must begin with box, which finds the regions, and name each head once.")
    if not isinstance(options or {}, Mapping):
        raise ValueError(f"head_options is {options!r}; it holds options by the names of heads.")
    objects = {head.name: head for head in heads if isinstance(head, Head)}
    settled = dict(options or {})
    for name, own in settled.items():
        if name in objects:
            raise ValueError(f"The head {name} is an object with arguments of its own. Leave head_options.{name} out.")
        check_options(head_named(name), own, f"the head {name}")
    for name in names:
        if name not in objects:
            settled[name] = completed(head_named(name), settled.get(name, {}), f"the head {name}")
    return [objects.get(name) or HEADS[name](**settled[name]) for name in names], settled
