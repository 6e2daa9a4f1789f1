"""What can be said to a class or a function, by name."""

import functools
import inspect
import typing
from collections.abc import Callable, Mapping
from typing import Any

OPEN = "**"
"""Among parameters: others are taken too, whatever they are called."""


def parameters(target: Any) -> Mapping[str, inspect.Parameter]:
    """The parameters of a function, or of a class's constructor with those that it passes on to its base as `**arguments`."""
    return _parameters(target)


@functools.cache
def _parameters(target: Any) -> Mapping[str, inspect.Parameter]:
    found: dict[str, inspect.Parameter] = {}
    for written in _constructors(target):
        own = [*inspect.signature(written).parameters.values()][written is not target :]
        rest = next((each for each in own if each.kind is each.VAR_KEYWORD), None)
        for each in own:
            if each.kind not in (each.VAR_KEYWORD, each.VAR_POSITIONAL):
                found.setdefault(each.name, each)
        if rest is None:
            return found
    return {**found, OPEN: rest} if rest else found


def hints(target: Any) -> Mapping[str, Any]:
    """The annotations of the same."""
    return _hints(target)


@functools.cache
def _hints(target: Any) -> Mapping[str, Any]:
    found: dict[str, Any] = {}
    for written in _constructors(target):
        try:
            found = {**typing.get_type_hints(written), **found}
        except NameError:  # hints that exist for type checkers only
            continue
    return found


def _constructors(target: Any) -> list[Callable[..., Any]]:
    """Of a class the constructors that are written in Python, its own first."""
    if not inspect.isclass(target):
        return [target]
    found = [vars(kind)["__init__"] for kind in target.__mro__ if inspect.isfunction(vars(kind).get("__init__"))]
    return found or [target]
