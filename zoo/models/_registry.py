"""Names to builders. A file of this folder registers its builders by existing: nothing else lists them.

Names are read from the source, and a file is imported when one of its networks is asked for: to know what there is takes no
torch.
"""

import ast
import functools
import importlib
import inspect
import sys
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

from zoo.common.renaming import in_place
from zoo.common.words import nearest

if TYPE_CHECKING:
    from torch import nn

Arguments = ParamSpec("Arguments")
Net = TypeVar("Net", bound="nn.Module")
Builder = TypeVar("Builder", bound="Callable[..., nn.Module]")

BACKBONE = "backbone"
"""The model, and its argument, that is another library's network by its name there."""
TIMM = "timm/"
"""How the names of timm's begin there."""
_BUILDERS: "dict[str, Callable[..., nn.Module]]" = {}


def register(builder: Builder) -> Builder:
    """Register a builder by its function's name, in any file: `create_model(NAME)` calls it from then on.

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


def variant(
    builder: "Callable[Concatenate[str, Arguments], Net]",
    name: str,
    doc: str | None = None,
    *,
    without: Collection[str] = (),
    **defaults: Any,
) -> "Callable[Arguments, Net]":
    """Register a network of a family: `vgg11 = variant(_vgg, "vgg11", "VGG-11.")`.

    Arguments, hints and their documentation stand once, at the family's builder; a variant states what differs.

    Args:
        builder: called with the variant's name, then with the network's arguments.
        name: the network's, and that of the variable which it is assigned to.
        doc: its docstring; the builder's own by default.
        without: arguments of the family that this network does not have; they keep their defaults.
        defaults: those that are not the builder's.
    """
    told = inspect.signature(builder)
    whole = [each.replace(default=defaults.get(each.name, each.default)) for each in [*told.parameters.values()][1:]]
    hidden = {each.name: each.default for each in whole if each.name in without}
    signature = told.replace(parameters=[each for each in whole if each.name not in without])

    def built(*args: Any, **kwargs: Any) -> Any:
        kwargs = in_place(kwargs, signature.parameters, told=name)
        return builder(name, **hidden, **bound(signature, name, args, kwargs))  # type: ignore[call-arg]

    module = str(sys._getframe(1).f_globals["__name__"])
    named: Callable[Arguments, Net] = presented(
        built, builder, signature, __name__=name, __qualname__=name, __module__=module, __doc__=doc
    )
    return register(named)


def bound(signature: inspect.Signature, name: str, args: Sequence[Any], kwargs: dict[str, Any]) -> dict[str, Any]:
    """Return all arguments of a call by name, defaults among them. Raises TypeError as a function of that name does."""
    try:
        arguments = signature.bind(*args, **kwargs)
    except TypeError as error:
        raise TypeError(f"{name}() {error}") from None
    arguments.apply_defaults()
    return arguments.arguments


def presented(function: Any, written: Callable[..., Any], signature: inspect.Signature, **names: str | None) -> Any:
    """Give a function the metadata of another one, but for this signature and these names."""
    functools.update_wrapper(function, written)
    hints = {each.name: each.annotation for each in signature.parameters.values()}
    function.__annotations__ = {**hints, "return": signature.return_annotation}
    function.__signature__ = signature
    for name, value in names.items():
        if value is not None:
            setattr(function, name, value)
    return function


@functools.cache
def _homes() -> dict[str, str]:
    """Find the module of each builder of this folder."""
    paths = sorted(Path(__file__).parent.glob("[!_]*.py"))
    return {
        name: f"{__package__}.{path.stem}"
        for path in paths
        for node in ast.parse(path.read_bytes()).body
        if (name := _registers(node))
    }


def _registers(node: ast.stmt) -> str | None:
    """Return the name that a statement registers: a decorated function's, or that of a variant's variable."""
    if isinstance(node, ast.FunctionDef):
        return node.name if any(ast.unparse(each) == register.__name__ for each in node.decorator_list) else None
    if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call) and ast.unparse(node.value.func) == variant.__name__:
        return ast.unparse(node.targets[0])
    return None


def registered() -> "dict[str, Callable[..., nn.Module]]":
    """Return the builders of all modules that are imported."""
    return dict(_BUILDERS)


def names() -> list[str]:
    """List the names of all models, those that were registered outside of this package too."""
    return sorted(_homes() | _BUILDERS)


def get_builder(name: str) -> "Callable[..., nn.Module]":
    """Return the builder of a name. Raises ValueError with the nearest names where there is none."""
    if name not in _BUILDERS and name in _homes():
        importlib.import_module(_homes()[name])
    if name not in _BUILDERS:
        raise ValueError(f"There is no model {name!r}; {nearest(str(name), names())}")
    return _BUILDERS[name]
