"""Published weights by name: `get_weights`, and the sources that entries come from."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path

from zoo.common.words import nearest
from zoo.models._entries_clips import torchvisions_of_clips
from zoo.models._entries_packaged import packaged
from zoo.models._entries_torchvision import DETECTORS, torchvisions
from zoo.models._entry import Weights
from zoo.models._registry import get_builder, names

SOURCES: tuple[Callable[[str], Sequence[Weights]], ...] = (packaged, torchvisions, torchvisions_of_clips)
"""Each lists the entries of a model by its name, its best first; the first of all is the model's default."""


def get_weights(name: str, tag: str | None = None) -> Weights:
    """Return the weights of a model by tag, or as `MODEL:TAG`; without one its default: what this project trained, else the
    publisher's best.

    Raises:
        ValueError: a model that does not exist or has no published weights, or a tag that it does not have.
    """
    if tag is None and ":" in name:
        name, _, tag = name.partition(":")
    get_builder(name)
    entries = entries_of(name)
    if not entries:
        raise ValueError(f"There are no published weights of {name!r}; give pretrained= a file, or train it.")
    if found := entry_named(name, "default" if tag is None else tag):
        return found
    raise ValueError(f"{name} has no weights {tag!r}; {nearest(str(tag), entries)}")


def full_name(said: object) -> tuple[str, str] | None:
    """Part `MODEL:TAG`, the name under which any network finds published weights, into model and tag; also torchvision's
    spelling, `ResNet18_Weights.IMAGENET1K_V1`. Return None for anything else, and where a file or a folder is called so."""
    found = re.fullmatch(r"([^/\\:]+):([^/\\:]*)", str(said))
    member = re.fullmatch(r"(\w+)_Weights\.(\w+)", str(said))
    if not (found or member) or Path(str(said)).exists():
        return None
    if member:
        theirs = member[1].lower()
        return next((ours for ours, name in DETECTORS.items() if name == theirs), theirs), member[2]
    return (found[1], found[2]) if found else None


def entry_named(name: str, said: object) -> Weights | None:
    """Find published weights as `pretrained` names them: the model's by tag, in any case, or by the publisher's file, as
    `X3D_S`; `default`, or True, is the first; another network's by their full name (see `full_name`); or themselves. Return
    None where no weights have that name."""
    if isinstance(said, Weights):
        return said
    name, tag = full_name(said) or (name, str(said))
    entries, tag = entries_of(name), tag.rpartition("_Weights.")[2].lower()
    if tag in ("default", "true"):
        return next(iter(entries.values()), None)
    files = {Path(address.url).stem.lower(): entry for entry in entries.values() for address in entry.addresses}
    return {**files, **{known.lower(): entry for known, entry in entries.items()}}.get(tag)


def entries_of(name: str) -> dict[str, Weights]:
    """List all weights of a model by tag, the default first; none of a name that is no model's."""
    if name not in names():
        return {}
    return {entry.tag: entry for source in SOURCES for entry in source(name)}
