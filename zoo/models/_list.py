"""The list of all models. To make it takes no torch."""

import fnmatch
from collections.abc import Sequence

from zoo.models._registry import names


def list_models(pattern: str | Sequence[str] = "*", *, pretrained: bool = False) -> list[str]:
    """List the names of all models, those that were registered outside of this package too.

    Args:
        pattern: those that match a shell pattern (`"vgg*"`), contain a word (`"resnet"`), or do either with one of several.
        pretrained: those that have published weights only.
    """
    patterns = [pattern] if isinstance(pattern, str) else pattern
    found = [name for name in names() if any(_matches(name, each) for each in patterns)]
    if not pretrained:
        return found
    from zoo.models._entries import entries_of

    return [name for name in found if entries_of(name)]


def _matches(name: str, pattern: str) -> bool:
    return fnmatch.fnmatchcase(name, pattern if any(char in pattern for char in "*?[") else f"*{pattern}*")
