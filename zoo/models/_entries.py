"""Published weights by name: `get_weights`, and the sources that entries come from."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path

from zoo.common.signature import parameters
from zoo.common.words import nearest
from zoo.models._entries_packaged import packaged
from zoo.models._entries_timm import timms
from zoo.models._entries_torchvision import DETECTORS, torchvisions, torchvisions_backbones
from zoo.models._entry import Weights
from zoo.models._registry import BACKBONE, get_builder, names

SOURCES: tuple[Callable[[str], Sequence[Weights]], ...] = (packaged, torchvisions)
"""Each lists the entries of a model by its name, its best first."""
OTHERS: tuple[Callable[[str], Sequence[Weights]], ...] = (timms, torchvisions_backbones)
"""The same of the networks that the model `backbone` is by their names: `timm/NAME`, or one of torchvision's."""


def get_weights(name: str, tag: str | None = None) -> Weights:
    """Return the weights of a model by tag, or as `MODEL:TAG`; without one its default: the publisher's best, else what
    this project trained on a set of its own.

    Raises:
        ValueError: a model that does not exist or has no published weights, or a tag that it does not have.
    """
    if tag is None and ":" in name:
        name, _, tag = name.partition(":")
    entries = entries_of(name)
    if not entries:
        get_builder(name)
        raise ValueError(f"There are no published weights of {name!r}; give pretrained= a file, or train it.")
    if found := entry_named(name, "default" if tag is None else tag):
        return found
    raise ValueError(f"{name} has no weights {tag!r}; {nearest(str(tag), entries)}")


def full_name(said: object) -> tuple[str, str] | None:
    """Part `MODEL:TAG`, the name under which any network finds published weights, into model and tag; also torchvision's
    spelling, `ResNet18_Weights.IMAGENET1K_V1`, and timm's, `timm/resnet18.a1_in1k`. Return None for anything else, and where a
    file or a folder is called so."""
    found = re.fullmatch(r"((?:timm/)?[^/\\:]+):((?:timm/)?[^/\\:]*)", str(said))
    network = re.fullmatch(r"timm/[^/\\:]+", str(said))
    member = re.fullmatch(r"(\w+)_Weights\.(\w+)", str(said))
    if not (found or member or network) or Path(str(said)).exists():
        return None
    if member:
        theirs = member[1].lower()
        return next((ours for ours, name in DETECTORS.items() if name == theirs), theirs), member[2]
    return (found[1], found[2]) if found else (str(said), "default")


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
    tag = next((known for known in entries if known.lower() in (tag, f"{name}.{tag}")), tag).lower()
    files = {Path(address.url).stem.lower(): entry for entry in entries.values() for address in entry.addresses}
    return {**files, **{known.lower(): entry for known, entry in entries.items()}}.get(tag)


def entries_of(name: str) -> dict[str, Weights]:
    """List all weights of a model by tag, the default first; none of a name that is no model's. Each network that `backbone` is
    counts as a model by its own name, `timm/NAME` or torchvision's; of `backbone` itself those of its default are first."""
    own = name in names()
    found = [entry for source in SOURCES for entry in source(name)] if own else []
    if name == BACKBONE:
        found += timms(parameters(get_builder(name))[BACKBONE].default)
    if name == BACKBONE or not own:
        found += [entry for source in OTHERS for entry in source(name)]
    found.sort(key=lambda entry: entry.file is not None)  # small networks of small sets stand last
    return {entry.tag: entry for entry in found}
