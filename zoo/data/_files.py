"""Files and folders: where data lie, and how a file is written whole or not at all."""

import contextlib
import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path, PurePath
from typing import Any, Protocol

from zoo.cache import cache_folder


class File(Protocol):
    """Where a sample's bytes are: a path, or a place in an archive."""

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
    """The same place, if there is a file with content: a pipe would be waited for, a device has no end. Nothing is opened.
    Raises `Unreadable`."""
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
    said = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return " ".join(said.split()).rstrip(".") or type(error).__name__


_allowed = int(os.environ.get("ZOO_MAX_PIXELS") or 100_000_000), "ZOO_MAX_PIXELS"
"""The most pixels that a picture or a frame may have, and what a user sets it by; 0 is any number."""


def check_pixels(path: File, width: int, height: int) -> None:
    """Compare the size that a header states, before anything is decoded: a small file may unpack to more than the memory
    holds. Raises `Unreadable`."""
    most, name = _allowed
    if 0 < most < width * height:
        raise Unreadable(path, f"it has {width * height:,} pixels, more than {name}={most} allows")


@contextlib.contextmanager
def pixels_limited(most: int, name: str) -> Iterator[None]:
    """Another limit meanwhile, under the name by which its user sets it."""
    global _allowed
    before, _allowed = _allowed, (most, name)
    try:
        yield
    finally:
        _allowed = before


def replaceable(path: Path) -> Path:
    """The same place, if nothing is there, or a file that may be written anew.

    Raises ValueError where a link, a pipe, a device or a folder has its name: none of them is replaced, and a link in a folder
    that somebody else made leads anywhere.
    """
    if os.path.lexists(path) and (path.is_symlink() or not path.is_file()):
        raise ValueError(f"{path} is no regular file, so it is not replaced. Move it, or choose another folder.")
    return path


def write_whole(path: Path, content: bytes | memoryview) -> None:
    """Write a file so that whoever looks sees all of it or the file that was there before.

    Raises ValueError where `replaceable` does.
    """
    replaceable(path)
    handle, partial = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        Path(partial).chmod(0o644)  # mkstemp makes private files; data are to be shared
        Path(partial).replace(path)
    except BaseException:
        Path(partial).unlink(missing_ok=True)
        raise


def inside(folder: Path, name: str) -> Path:
    """A file of a folder, by the name that a table or an archive gives it. Raises ValueError: the name leads out of it."""
    path = PurePath(os.path.normpath(name))
    if not name or "\0" in name or path.is_absolute() or path.parts[:1] == (os.pardir,):
        raise ValueError(f"The name {name!r} leads out of {folder}. Names are relative to the folder, and stay in it.")
    return folder / path


def data_root(root: str | Path | None) -> Path:
    """The folder that holds the data sets: the argument, else $ZOO_DATA, else the cache folder."""
    return Path(root or os.environ.get("ZOO_DATA") or cache_folder()).expanduser().absolute()


def writable_root(root: str | Path | None) -> Path:
    """Where a rendered set goes: the data root, or the cache folder if the root cannot be written to (a shared disk)."""
    chosen = data_root(root)
    nearest = chosen
    while not nearest.exists():
        nearest = nearest.parent
    return chosen if os.access(nearest, os.W_OK) else cache_folder()
