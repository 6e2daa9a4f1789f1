"""Public names that had another name."""

from collections.abc import Callable, Mapping
from typing import Any

from zoo.common.words import warn


def with_former_names(module: str, find: Callable[[str], Any], names: Mapping[str, str]) -> Callable[[str], Any]:
    """A module's `__getattr__` that also finds what had another name, and warns.

    Args:
        module: its name.
        find: the `__getattr__` that knows the present names.
        names: a former name -> the present one.
    """

    def found(name: str) -> Any:
        if name in names:
            warn(f"{module}.{name} is called {names[name]} now.")
        return find(names.get(name, name))

    return found
