"""The files of the configuration as they are written, each with the files of its group that it is based on."""

from pathlib import Path
from typing import Any

import yaml

from zoo.common.places import CONF


def lineage(path: Path) -> list[Path]:
    """A file and those that it is based on, these first."""
    listed = (yaml.safe_load(path.read_text()) or {}).get("defaults", [])
    bases = [path.parent / f"{each}.yaml" for each in listed if isinstance(each, str) and each != "_self_"]
    return [*(each for base in bases for each in lineage(base)), path]


def written(group: str, name: str) -> dict[str, Any]:
    """The values, without `defaults`: of a file that sets keys of other groups too, each under its group."""
    found: dict[str, Any] = {}
    for path in lineage(CONF / group / f"{name}.yaml"):
        content = yaml.safe_load(path.read_text()) or {}
        content.pop("defaults", None)
        _merge(found, content if _whole(path) else {group: content})
    return found if _whole(CONF / group / f"{name}.yaml") else dict(found[group])


def _whole(path: Path) -> bool:
    return path.read_text().startswith("# @package _global_")


def chosen(group: str, name: str) -> dict[str, str]:
    """The files of other groups that it chooses."""
    found: dict[str, str] = {}
    for path in lineage(CONF / group / f"{name}.yaml"):
        listed = [each for each in (yaml.safe_load(path.read_text()) or {}).get("defaults", []) if isinstance(each, dict)]
        for key, value in (pair for each in listed for pair in each.items()):
            found[key.removeprefix("override").strip(" /")] = value
    return found


def _merge(into: dict[str, Any], other: dict[str, Any]) -> None:
    for key, value in other.items():
        if isinstance(value, dict) and isinstance(into.get(key), dict):
            _merge(into[key], value)
        else:
            into[key] = value
