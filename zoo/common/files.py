"""Files that others made: checks before one is read, and the error that names it."""

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol


class File(Protocol):
    """Where a sample's bytes are: a path, a place in an archive, or the memory (`zoo.common.pixels`)."""

    def open(self, mode: Any = "rb", /) -> Any: ...


class Unreadable(ValueError):
    """A file that cannot be read, and why."""

    def __init__(self, path: File, reason: str) -> None:
        super().__init__(f"{path} cannot be read: {reason}.")
        self.path = str(path)
        self.reason = reason

    def __reduce__(self) -> tuple[type["Unreadable"], tuple[Any, str]]:
        return Unreadable, (self.path, self.reason)  # an exception crosses from a worker by its arguments


_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def regular(path: File) -> File:
    """Return the path if it is a regular file, without opening it: a pipe would block, and a device has no end. Raises
    `Unreadable`."""
    if isinstance(path, Path):  # what lies in an archive is a file
        try:
            mode = path.stat().st_mode
        except (OSError, ValueError) as error:  # it is missing, a link to itself, or its name is none
            raise Unreadable(path, reason(error)) from None
        if not stat.S_ISREG(mode):
            raise Unreadable(path, f"it is {_KINDS.get(stat.S_IFMT(mode), 'something else')}, not a file")
    return path


def reason(error: BaseException) -> str:
    """What a library's exception says, on one line."""
    if isinstance(error, MemoryError):
        return "there is not enough memory for it"
    said = getattr(error, "strerror", None) or str(error)  # the system's errors have one, and FFmpeg's
    return " ".join(said.split()).rstrip(".") or type(error).__name__


_allowed = int(os.environ.get("ZOO_MAX_PIXELS") or 100_000_000), "ZOO_MAX_PIXELS"
"""The most pixels that a picture or a frame may have, and what a user sets it by; 0 is any number."""


def most_pixels() -> int:
    """The limit in force, for a decoder that can keep it itself; 0 is none."""
    return _allowed[0]


def check_pixels(path: File, width: int, height: int) -> None:
    """Compare the size that a header states, before anything is decoded: a small file may unpack to more than the memory
    holds. Raises `Unreadable`."""
    most, name = _allowed
    if 0 < most < width * height:
        raise Unreadable(path, f"it has {width * height:,} pixels, more than {name}={most} allows")


@contextlib.contextmanager
def pixels_limited(most: int, name: str) -> Iterator[None]:
    """Set another limit for a while, under the name by which the user sets it."""
    global _allowed
    before, _allowed = _allowed, (most, name)
    try:
        yield
    finally:
        _allowed = before
