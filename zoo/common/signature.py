"""The arguments of a class or a function, by name.

A constructor takes what it hands on to its base as `**shared: Unpack[Shared]` (PEP 692). `Shared`, a `TypedDict`, states names
and types, for type checkers too; the class attribute `default_arguments` states the defaults. This module reads both, as if
each argument were written out.
"""

import functools
import inspect
import typing
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

OPEN = "**"
"""Among parameters: others are taken too, whatever they are called."""

Shared = TypeVar("Shared", bound=Mapping[str, Any])


class ConstructorSignature:
    """The attribute `__signature__` of a class and of all below it: every argument, also those that the base takes. `help()`,
    `inspect.signature` and a shell's completion read it.

    Args:
        first: names of shared arguments that stand before a class's own; the others follow them.
    """

    def __init__(self, *first: str) -> None:
        self.first = first

    def __get__(self, instance: object, owner: type) -> inspect.Signature:
        if instance is not None:  # what is called then is not the constructor
            raise AttributeError("__signature__")
        found = dict(parameters(owner))
        rest = found.pop(OPEN, None)
        listed = sorted(
            found.values(), key=lambda each: (each.kind, each.default is not each.empty, each.name not in self.first)
        )
        return inspect.Signature([*listed, *([rest] if rest else [])])


def parameters(target: Any) -> Mapping[str, inspect.Parameter]:
    """The parameters of a function, or of a class's constructor with those that it passes on to its base as `**arguments`."""
    return _parameters(target)


@functools.cache
def _parameters(target: Any) -> Mapping[str, inspect.Parameter]:
    found: dict[str, inspect.Parameter] = {}
    defaults: dict[str, Any] = {}
    shared: Mapping[str, Any] | None = None  # what is passed on, where a constructor states it
    rest: inspect.Parameter | None = None
    for written, own_defaults in _constructors(target):
        defaults = {**own_defaults, **defaults}
        own = [*inspect.signature(written).parameters.values()][written is not target :]
        rest = next((each for each in own if each.kind is each.VAR_KEYWORD), None)
        for each in own:
            if each.kind not in (each.VAR_KEYWORD, each.VAR_POSITIONAL) and (shared is None or each.name in shared):
                found.setdefault(each.name, each.replace(default=defaults.setdefault(each.name, each.default)))
        if rest is None:
            break
        if (stated := _stated(written)) is not None:
            shared = {name: hint for name, hint in stated.items() if shared is None or name in shared}
    for name, hint in (shared or {}).items():
        default = defaults.get(name, inspect.Parameter.empty)
        found.setdefault(name, inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=hint))
    return {**found, OPEN: rest} if rest and shared is None else found


def hints(target: Any) -> Mapping[str, Any]:
    """The annotations of the same."""
    return _hints(target)


@functools.cache
def _hints(target: Any) -> Mapping[str, Any]:
    found: dict[str, Any] = {}
    for written, _ in _constructors(target):
        try:
            found = {**(_stated(written) or {}), **typing.get_type_hints(written), **found}
        except NameError:  # hints that exist for type checkers only
            continue
    return found


def _constructors(target: Any) -> list[tuple[Callable[..., Any], Mapping[str, Any]]]:
    """Of a class the constructors that are written in Python, its own first, each with the `default_arguments` that are
    stated for it and for those behind it."""
    if not inspect.isclass(target):
        return [(target, {})]
    found: list[tuple[Callable[..., Any], Mapping[str, Any]]] = []
    defaults: dict[str, Any] = {}
    for kind in target.__mro__:
        defaults = {**vars(kind).get("default_arguments", {}), **defaults}
        if inspect.isfunction(written := vars(kind).get("__init__")):
            found.append((written, defaults))
            defaults = {}
    return found or [(target, {})]


def _stated(written: Callable[..., Any]) -> Mapping[str, Any] | None:
    """The arguments that a function takes as `**shared: Unpack[Shared]`, and their types."""
    try:
        known = typing.get_type_hints(written)
    except (NameError, TypeError):
        return None
    kind = next((typing.get_args(each)[0] for each in known.values() if typing.get_origin(each) is typing.Unpack), None)
    return None if kind is None else typing.get_type_hints(kind)


# In a constructor


def filled(kind: type, shared: type[Shared], said: Mapping[str, Any]) -> Shared:
    """All of the arguments that `shared` states: those that were said, the others as the class's `default_arguments`
    have them.

    Raises TypeError, as Python does: one that there is not, or one without a default that is missing.
    """
    known = typing.get_type_hints(shared)
    if unknown := [name for name in said if name not in known]:
        raise TypeError(f"{kind.__name__}.__init__() got an unexpected keyword argument {unknown[0]!r}")
    values = {**defaults_of(kind), **said}
    if missing := [name for name in known if name not in values]:
        raise TypeError(f"{kind.__name__}.__init__() is missing the required keyword argument {missing[0]!r}")
    return typing.cast(Shared, {name: values[name] for name in known})


def defaults_of(kind: type) -> dict[str, Any]:
    """What a class and its bases state as `default_arguments`."""
    found: dict[str, Any] = {}
    for each in reversed(kind.__mro__):
        found.update(vars(each).get("default_arguments", {}))
    return found


def check_names(kind: type, said: Mapping[str, Any]) -> None:
    """Raises TypeError for an argument that the class's own constructor does not state, though a base's may."""
    written = next((vars(each)["__init__"] for each in kind.__mro__ if "__init__" in vars(each)), None)
    if not inspect.isfunction(written) or _stated(written) is None:
        return  # Python looks after it
    if unknown := [name for name in said if name not in parameters(kind)]:
        raise TypeError(f"{kind.__name__}.__init__() got an unexpected keyword argument {unknown[0]!r}")
