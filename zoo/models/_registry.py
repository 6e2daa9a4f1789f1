"""Names to builders. A file of this folder registers its builders by existing: nothing else lists them.

Names are read from the source, and a file is imported when one of its networks is asked for: to know what there is takes no
torch.
"""

import ast
import fnmatch
import functools
import importlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from zoo.common.words import nearest

if TYPE_CHECKING:
    from torch import nn

Builder = TypeVar("Builder", bound="Callable[..., nn.Module]")

_BUILDERS: "dict[str, Callable[..., nn.Module]]" = {}


def register(builder: Builder) -> Builder:
    """Make a builder known by its function's name, in any file: `create_model(NAME)` calls it from then on.

    Its keyword arguments are the model's (those that data decide are `num_classes`, `in_chans` and `input_shape`), and its
    docstring is shown. A cell of a notebook that is run again replaces its own builder.

    Raises:
        ValueError: another builder has the name.
    """
    name = builder.__name__
    home = f"{builder.__module__}.{builder.__qualname__}"
    known = _BUILDERS.get(name)
    there = f"{known.__module__}.{known.__qualname__}" if known else f"{_homes().get(name, builder.__module__)}.{name}"
    if there != home and (known or name in _homes()):
        raise ValueError(f"There is a model {name} already ({there}), so {home} cannot be registered. Give it another name.")
    _BUILDERS[name] = builder
    return builder


@functools.cache
def _homes() -> dict[str, str]:
    """Of each builder of this folder the module that it is written in."""
    return {
        node.name: f"{__package__}.{path.stem}"
        for path in sorted(Path(__file__).parent.glob("[!_]*.py"))
        for node in ast.parse(path.read_bytes()).body
        if isinstance(node, ast.FunctionDef)
        and any(isinstance(each, ast.Name) and each.id == register.__name__ for each in node.decorator_list)
    }


def registered() -> "dict[str, Callable[..., nn.Module]]":
    """The builders that are known already."""
    return dict(_BUILDERS)


def list_models(pattern: str | Sequence[str] = "*", *, pretrained: bool = False) -> list[str]:
    """The names of all models, those that were registered outside of this package too.

    Args:
        pattern: those that match a shell pattern (`"vgg*"`), contain a word (`"resnet"`), or do either with one of several.
        pretrained: those that have published weights only.
    """
    patterns = [pattern] if isinstance(pattern, str) else pattern
    names = sorted(name for name in _homes() | _BUILDERS if any(_matches(name, each) for each in patterns))
    if not pretrained:
        return names
    from zoo.models._entries import entries_of

    return [name for name in names if entries_of(name)]


def _matches(name: str, pattern: str) -> bool:
    return fnmatch.fnmatchcase(name, pattern if any(char in pattern for char in "*?[") else f"*{pattern}*")


def get_builder(name: str) -> "Callable[..., nn.Module]":
    """The builder of a name. A name that does not exist is a ValueError with the nearest ones."""
    if name not in _BUILDERS and name in _homes():
        importlib.import_module(_homes()[name])
    if name not in _BUILDERS:
        raise ValueError(f"There is no model {name!r}; {nearest(str(name), list_models())}")
    return _BUILDERS[name]
