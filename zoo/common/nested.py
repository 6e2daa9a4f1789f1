"""Values in dictionaries of dictionaries, and their full names: `{"a": {"b": 1}}` and `{"a.b": 1}`."""

from collections.abc import Mapping
from typing import Any


def flat(values: Mapping[str, Any], place: str = "") -> dict[str, Any]:
    """Each value under its full name. A dictionary that holds nothing is nothing."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        name = f"{place}.{key}" if place else str(key)
        found |= flat(value, name) if isinstance(value, Mapping) else {name: value}
    return found


def deep(values: Mapping[str, Any]) -> dict[str, Any]:
    """The inverse of `flat`."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        *parents, key = name.split(".")
        node = found
        for parent in parents:
            node = node.setdefault(parent, {})
        node[key] = value
    return found


def merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Both, name by name; where both have a value, that of `above`."""
    found = dict(below)
    for key, value in above.items():
        own = found.get(key)
        found[key] = merged(own, value) if isinstance(own, Mapping) and isinstance(value, Mapping) else value
    return found
