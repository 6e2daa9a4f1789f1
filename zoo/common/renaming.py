"""Old names of public classes, methods and attributes: they go on working, with a warning that states the new one."""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from zoo.common.words import warn


def with_old_names(found: Callable[[str], Any], face: str, names: Mapping[str, str]) -> Callable[[str], Any]:
    """The `__getattr__` of a package that knows old names too.

    Args:
        found: its own `__getattr__`.
        names: old name to new.
    """

    def known(name: str) -> Any:
        if name in names:
            _say(f"{face}.{name}", names[name])
        return found(names.get(name, name))

    return known


class Renamed:
    """A base of classes whose methods and attributes have `old_names`. A subclass may override a method under either name."""

    old_names: ClassVar[Mapping[str, str]] = {}

    def __init_subclass__(cls, **arguments: Any) -> None:
        super().__init_subclass__(**arguments)
        own = dict(vars(cls))
        for old, new in cls.old_names.items():
            if old in own and new not in own:
                _say(f"{cls.__name__}.{old}", new)
                setattr(cls, new, own[old])
            if old in own or new in own or "old_names" in own:
                # One alias a class, so that super().OLD is the base's method.
                setattr(cls, old, _Alias(old, new, vars(cls).get(new)))


class _Alias:
    """A name that stands for another one: for a method of the class, or for an attribute of the object."""

    def __init__(self, old: str, new: str, method: Any) -> None:
        self.old = old
        self.new = new
        self.method = method

    def __get__(self, instance: Any, owner: type) -> Any:
        if instance is None:
            return self if self.method is None else self.method
        _say(f"{type(instance).__name__}.{self.old}", self.new)
        return getattr(instance, self.new) if self.method is None else self.method.__get__(instance, owner)

    def __set__(self, instance: Any, value: Any) -> None:
        _say(f"{type(instance).__name__}.{self.old}", self.new)
        setattr(instance, self.new, value)


def _say(old: str, new: str) -> None:
    warn(f"{old} is called {new} now; the old name will be gone in a later version.")
