"""JSON from outside, checked against a type: whatever is not of it is one sentence that names the place and the value.

A type is any that msgspec knows: a `Struct` with a field for each key that is read (others are passed over), bounds as
`Annotated[int, Meta(ge=1)]`. Nothing is converted: "0" is no number, 1.0 no whole one.
"""

import json
import re
from pathlib import Path
from typing import Any, TypeVar

import msgspec

T = TypeVar("T")


def read_json(path: Path, kind: type[T]) -> T:
    """The content of a file. Raises ValueError: it cannot be read, is no JSON, or not of this type."""
    try:
        content = path.read_bytes().removeprefix(b"\xef\xbb\xbf")
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}.") from None
    try:
        return msgspec.json.decode(content, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass  # looked at again below: Python reads NaN too, which many libraries write, and another encoding
    try:
        value = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is no JSON ({_line(error)}).") from None
    try:
        return checked(value, kind)
    except ValueError as error:
        raise ValueError(f"{path}: {error}.") from None


def checked(value: Any, kind: type[T]) -> T:
    """A part of such a file, as it is or as plain values, as its type. Raises ValueError: `iscrowd is "0", but must be ...`."""
    try:
        return msgspec.json.decode(value, type=kind) if isinstance(value, msgspec.Raw) else msgspec.convert(value, kind)
    except (msgspec.ValidationError, RecursionError) as error:
        raise ValueError(_said(error, plain(value))) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ValueError(_line(error)) from None


def plain(value: Any) -> Any:
    """A part of such a file as lists, dictionaries, numbers and text; None if it is none."""
    try:
        return msgspec.json.decode(value) if isinstance(value, msgspec.Raw) else value
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _said(error: Exception, value: Any) -> str:
    said, _, place = _line(error).partition(" - at ")
    said = said.replace("`", "")
    keys = re.findall(r"\.([^.\[\]]+)|\[(\d+)\]", place.strip("`").removeprefix("$"))
    owner = ""
    try:
        for name, index in keys:
            value = value[name] if name else value[int(index)]
            if isinstance(value, dict) and isinstance(value.get("id"), int | str):
                owner = f"of id {_short(value['id'])}, "
    except (KeyError, IndexError, TypeError, ValueError):
        value = None
    where = place.strip("`").removeprefix("$").removeprefix(".")
    if missing := re.search(r"missing required field (\S+)", said):
        return f"{owner}{where or 'it'} has no {missing[1]}"
    return f"{owner}{where or 'it'} is {_short(value)}, which does not do: {said[:1].lower()}{said[1:]}"


def _short(value: Any) -> str:
    shown = json.dumps(value, default=str)
    return shown if len(shown) <= 60 else f"{shown[:57]}..."


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300].rstrip(".") or type(error).__name__
