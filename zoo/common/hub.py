"""Networks that were published: a folder with `config.json`, which says how one is built, and `model.safetensors`; here, or
`hf-hub:ORG/NAME` on Hugging Face."""

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.common.words import muted

if TYPE_CHECKING:
    from torch import Tensor

PREFIX = "hf-hub:"
CONFIG, WEIGHTS, CARD = "config.json", "model.safetensors", "README.md"
"""The files of such a folder."""
RECIPE = "zoo"
"""Entry of the configuration: a checkpoint's recipe, see `zoo.run.recipe`."""
TASK = "task."
"""Prefix of tensors that are the task's, not the network's."""


def is_published(place: object) -> bool:
    """Whether this names a published network: `hf-hub:ORG/NAME`, or a folder with one."""
    named = os.fspath(place) if isinstance(place, str | os.PathLike) else ""
    if isinstance(named, str) and named.startswith(PREFIX):
        return True
    return bool(named) and all(os.path.isfile(os.path.join(named, file)) for file in (CONFIG, WEIGHTS))  # noqa: PTH113, PTH118 (Path raises for names too long)


def published_weights(place: str | os.PathLike[str]) -> Path:
    """The file of the tensors alone, of any repository that holds one of this name, timm's for instance. Raises ValueError."""
    return _file(os.fspath(place), WEIGHTS)


def read_published(place: str | os.PathLike[str]) -> "tuple[dict[str, Any], Mapping[str, Tensor]]":
    """The recipe of a published network, and its tensors. Raises ValueError: there is none, or it is not of this project."""
    from zoo.common.tensors import read_tensors

    named = os.fspath(place)
    config, weights = (_file(named, name) for name in (CONFIG, WEIGHTS))
    try:
        content = json.loads(config.read_bytes())
    except (OSError, ValueError, RecursionError):
        content = None
    recipe = content.get(RECIPE) if isinstance(content, dict) else None
    parts = ("names", "arguments", "facts")
    if not isinstance(recipe, dict) or not all(isinstance(recipe.get(part), dict) for part in parts):
        timms = isinstance(content, dict) and "pretrained_cfg" in content
        ending = f' timm\'s is create_model("timm/{named.rpartition("/")[2]}").' if timms else ""
        raise ValueError(f"{named} was not published by zoo: its {CONFIG} does not say how its network is built.{ending}")
    return recipe, read_tensors(weights)


def _file(named: str, name: str) -> Path:
    """A file of a folder, or of a repository, from Hugging Face's cache if it is there."""
    if not named.startswith(PREFIX):
        return Path(named) / name
    from huggingface_hub import hf_hub_download

    from zoo.common.download import hub_endpoint, hub_folder

    repository, _, revision = named.removeprefix(PREFIX).partition("@")
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", repository, re.ASCII):
        raise ValueError(f"{named} is no name of a repository; it is {PREFIX}ORG/NAME, or {PREFIX}ORG/NAME@REVISION.")
    try:
        with muted():
            found = hf_hub_download(
                repository, name, revision=revision or None, cache_dir=hub_folder(), endpoint=hub_endpoint()
            )
        return Path(found)
    except Exception as error:  # those of the client of HTTP too, which is another one from release to release
        raise ValueError(
            f"{name} of {named} is not in {hub_folder()}, and could not be fetched from {hub_endpoint()} "
            f"({first_line(error)}). Check the name and the network, and for a private repository the login: hf auth login."
        ) from None


def first_line(error: Exception) -> str:
    """What an error says first, without its end."""
    said = str(error).strip().partition("\n")[0].rstrip(".: ")
    return said or type(error).__name__
