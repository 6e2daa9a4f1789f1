"""One grammar of all verbs' own options, read from the signature of the verb's function.

- A parameter without a default, or marked `Plain`, is a plain argument: a path or a name. One that takes a sequence takes as
  many as there are.
- `overrides` are the settings of a run, `key=value`: whatever is none of the options.
- Any other parameter is an option, `name=value`, of its annotation's type; a sequence is separated by commas. One whose default
  is a dataclass stands for its fields, and `**options: Annotated[Any, Further(...)]` for the options of another function.

What exists is a path, whatever characters are in it; of the rest, what has an equals sign is an option or a setting. (The marks
are imported by what knows no Hydra, so what does is imported where it is needed.)
"""

import ast
import dataclasses
import inspect
import math
import re
import textwrap
import types
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zoo.common.places import exists
from zoo.common.words import nearest


@dataclass(frozen=True)
class Plain:
    """Marks a parameter with a default that is a plain argument nevertheless."""


@dataclass(frozen=True)
class Named:
    """Gives an option a name that is no identifier in Python."""

    name: str


@dataclass(frozen=True)
class Within:
    """Marks `overrides` of which only those of some groups or keys are taken."""

    roots: tuple[str, ...]


@dataclass(frozen=True)
class Further:
    """Marks `**options`: they are those of the function that belongs to the first plain argument."""

    of: Callable[[str], Callable[..., Any]]


@dataclass(frozen=True)
class Parameter:
    """A parameter of a verb's function, or a field of a dataclass that is one's default."""

    name: str
    """On the command line."""
    path: tuple[str, ...]
    """The parameter, and the field of it if it is one."""
    hint: Any
    default: Any
    marks: tuple[Any, ...]
    text: str = ""
    """Its text in the docstring."""

    @property
    def has_default(self) -> bool:
        return self.default is not inspect.Parameter.empty

    @property
    def is_plain(self) -> bool:
        return not self.has_default or any(isinstance(mark, Plain) for mark in self.marks)

    @property
    def is_settings(self) -> bool:
        return self.path[-1] == "overrides"

    @property
    def is_many(self) -> bool:
        return _is_sequence(self.hint)

    def mark(self, kind: type) -> Any:
        return next((mark for mark in self.marks if isinstance(mark, kind)), None)


def parameters(function: Callable[..., Any]) -> list[Parameter]:
    """What a verb's function takes, in order; without its `**options`, which its first plain argument decides."""
    return list(_parameters(function))


def _parameters(function: Callable[..., Any]) -> Iterator[Parameter]:
    hints = typing.get_type_hints(inspect.unwrap(function), include_extras=True)
    texts = _texts(function)
    for name, each in inspect.signature(function).parameters.items():
        if dataclasses.is_dataclass(each.default):
            yield from _fields(name, type(each.default))
        elif each.kind is not each.VAR_KEYWORD:
            yield _parameter((name,), hints.get(name, Any), each.default, texts.get(name, ""))


def _fields(owner: str, kind: type[Any]) -> Iterator[Parameter]:
    hints, texts = typing.get_type_hints(kind, include_extras=True), _attribute_texts(kind)
    for each in dataclasses.fields(kind):
        yield _parameter((owner, each.name), hints[each.name], each.default, texts.get(each.name, ""))


def _parameter(path: tuple[str, ...], hint: Any, default: Any, text: str) -> Parameter:
    marks: tuple[Any, ...] = ()
    if typing.get_origin(hint) is typing.Annotated:
        hint, *rest = typing.get_args(hint)
        marks = tuple(rest)
    named = next((mark.name for mark in marks if isinstance(mark, Named)), path[-1])
    return Parameter(named, path, hint, default, marks, text)


def _further(function: Callable[..., Any]) -> Further | None:
    for each in inspect.signature(function).parameters.values():
        if each.kind is each.VAR_KEYWORD:
            return next((mark for mark in typing.get_args(each.annotation) if isinstance(mark, Further)), None)
    return None


# Reading


def read(function: Callable[..., Any], arguments: Sequence[str], verb: str = "") -> dict[str, Any]:
    """The arguments of a command line as those of the function. Raises ValueError with one sentence about what is wrong."""
    known = parameters(function)
    paths = [each for each in arguments if exists(each) or "=" not in each]
    for each in paths:
        if each.startswith("-") and not exists(each):
            raise ValueError(f"There is no option {each}; options are written name=value.")
    values = dict(_plain([each for each in known if each.is_plain], paths, verb))
    options = [each for each in known if not each.is_plain and not each.is_settings]
    if further := _further(function):
        options += [each for each in parameters(further.of(str(next(iter(values.values()))))) if not each.is_plain]
    names = {each.name: each for each in options}
    settings = []
    for argument in arguments:
        key, _, text = argument.partition("=")
        if argument in paths or key == "debug":  # of all verbs; see `cli.verb`
            continue
        if key in names:
            values[names[key].path] = value_of(key, text, names[key].hint)
        else:
            settings.append(argument)
    taken = next((each for each in known if each.is_settings), None)
    _check_settings(settings, names, taken, verb)
    if taken:
        from zoo.run.compose import literal_paths

        values[taken.path] = tuple(literal_paths(settings))
    return _nested(function, values)


def _plain(places: Sequence[Parameter], given: Sequence[str], verb: str) -> Iterator[tuple[tuple[str, ...], Any]]:
    waiting = list(given)
    for each in places:
        if each.is_many:
            taken, waiting = waiting, []
            if taken or not each.has_default:
                yield each.path, _needed(each, taken, verb)
        elif waiting or not each.has_default:
            yield each.path, _needed(each, waiting, verb)[0]
            waiting = waiting[1:]
    if waiting:
        takes = " and ".join(_word(each) for each in places) or "settings alone"
        raise ValueError(f"{waiting[0]} is not a setting (key=value), and one {takes} is taken at a time.")


def _needed(place: Parameter, given: list[str], verb: str) -> list[str]:
    if not given:
        raise ValueError(f"Name {re.split('[;.]', place.text)[0] or place.name}: zoo {verb} {_word(place)}")
    return given


def _check_settings(settings: Sequence[str], options: Iterable[str], taken: Parameter | None, verb: str) -> None:
    """Refuse a key that is neither an option nor the beginning of a setting."""
    from zoo.run import compose

    within = taken.mark(Within) if taken else None
    roots = within.roots if within else compose.roots() if taken else ()
    for argument in settings:
        key = argument.partition("=")[0]
        root = re.split(r"[./@]", key)[0]
        if root in roots or argument[:1] in "+~":  # Hydra's own signs
            continue
        name = key if any(each.startswith(f"{root}.") for each in options) else root
        raise ValueError(f"There is no setting {key!r} of zoo {verb}; {nearest(name, {*options, *roots} - {'hydra'})}")


def _nested(function: Callable[..., Any], values: Mapping[tuple[str, ...], Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for path, value in values.items():
        if len(path) == 1:
            found[path[0]] = value
        else:
            found.setdefault(path[0], {})[path[1]] = value
    defaults = inspect.signature(function).parameters
    for name, value in found.items():
        default: Any = defaults[name].default if name in defaults else None
        if dataclasses.is_dataclass(default) and not isinstance(default, type):
            found[name] = dataclasses.replace(default, **value)
    return found


# Values


def value_of(name: str, text: str, hint: Any) -> Any:
    """The value that a text stands for. Raises ValueError where it is of another type."""
    for kind in _alternatives(hint):
        try:
            return _value(text, kind)
        except ValueError:
            continue
    raise ValueError(f"{name} is {text!r}, but it must be {spoken(hint)}.")


def _alternatives(hint: Any) -> tuple[Any, ...]:
    """The types of a union, the most particular first."""
    if typing.get_origin(hint) not in (typing.Union, types.UnionType):
        return (hint,)
    return tuple(sorted(typing.get_args(hint), key=lambda kind: (kind is str, kind is Path, kind is not type(None))))


def _value(text: str, kind: Any) -> Any:
    if _is_sequence(kind):
        inner = typing.get_args(kind)[0]
        return tuple(_value(each, inner) for each in text.strip("[]()").split(","))
    if typing.get_origin(kind) is typing.Literal:
        if text not in typing.get_args(kind):
            raise ValueError(text)
        return text
    if kind in (type(None), bool):
        words = {"null": None} if kind is not bool else {"true": True, "false": False}
        if text.lower() not in words:
            raise ValueError(text)
        return words[text.lower()]
    if kind is int and not re.fullmatch(r"[+-]?\d+", text, re.ASCII):  # int() takes letters of all scripts, and underscores
        raise ValueError(text)
    if kind is Path:
        from zoo.run.folder import place

        return Path(place(text))
    if kind is float and not math.isfinite(float(text)):
        raise ValueError(text)
    return kind(text) if kind in (int, float) else text


def _is_sequence(kind: Any) -> bool:
    origin = typing.get_origin(kind)
    return inspect.isclass(origin) and issubclass(origin, Sequence)


def spoken(hint: Any) -> str:
    """A type in the words of a sentence."""
    from zoo.run import check

    if _is_sequence(hint):
        inner = typing.get_args(hint)[0]
        if typing.get_origin(inner) is typing.Literal:
            return f"one or several of {', '.join(typing.get_args(inner))}"
        return {int: "whole numbers", float: "numbers"}.get(inner, "words") + " separated by commas"
    return check.spoken(hint)


# Help


def usage(function: Callable[..., Any], verb: str, about: str) -> str:
    """The text of `zoo VERB --help`."""
    known = parameters(function)
    plain = [each for each in known if each.is_plain]
    options = [each for each in known if not each.is_plain and not each.is_settings]
    words = [f"{_word(each)}{' ...' * each.is_many}" for each in plain]
    words = [f"[{word}]" * each.has_default or word for word, each in zip(words, plain, strict=True)]
    further = _further(function) is not None
    line = " ".join(["usage: zoo", verb, *words, *["[option=value ...]"] * bool(options or further), "[key=value ...]"])
    rows = [(_word(each), each.text) for each in plain]
    rows += [(f"{each.name}={_written(each.default)}", each.text) for each in options]
    rows += [("option=value", _texts(function)["options"])] if further else []
    width = min(36, max((len(left) for left, _ in rows), default=0))
    hanging = {"width": 120, "initial_indent": "  ", "subsequent_indent": " " * (width + 4)}
    lines = [f"{left:<{width}}  {text[:1].upper()}{text[1:].rstrip('.')}" for left, text in rows]
    table = "\n".join(textwrap.fill(each, **hanging) for each in lines)  # type: ignore[arg-type]
    return "\n\n".join(filter(None, [line, inspect.cleandoc(about), table]))


def _word(place: Parameter) -> str:
    return place.name.rstrip("s").upper() if place.is_many else place.name.upper()


def _written(value: Any) -> str:
    if isinstance(value, tuple):
        return ",".join(map(_written, value))
    return "null" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _texts(function: Callable[..., Any]) -> dict[str, str]:
    """The text of each argument in the docstring's "Args:"."""
    docstring = inspect.getdoc(inspect.unwrap(function)) or ""
    section = re.search(r"^Args:\n((?:[ ]{4}.*\n?|\n)+)", docstring + "\n", re.MULTILINE)
    found = re.findall(r"^    (\w+): (.*(?:\n     .*)*)", section[1] if section else "", re.MULTILINE)
    return {name: " ".join(text.split()) for name, text in found}


def _attribute_texts(kind: type[Any]) -> dict[str, str]:
    """The texts below a dataclass's fields."""
    (definition,) = ast.parse(textwrap.dedent(inspect.getsource(kind))).body
    assert isinstance(definition, ast.ClassDef)
    found = {}
    for field, below in zip(definition.body, definition.body[1:], strict=False):
        if isinstance(field, ast.AnnAssign) and isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant):
            found[ast.unparse(field.target)] = " ".join(str(below.value.value).split())
    return found
