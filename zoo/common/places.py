"""Where data and results lie, and how files and folders are written there.

What other processes or people may look at meanwhile is made so that they see all of it or nothing: a folder is created where
none was, a file is written beside its place, checked, and renamed. Nothing is removed here but what was made here.
"""

import contextlib
import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path, PurePath
from typing import Any, BinaryIO

from zoo.common.words import json_text

_PACKAGE = Path(__file__).parent.parent
CONF = _PACKAGE / "conf" if (_PACKAGE / "conf").is_dir() else _PACKAGE.parent / "conf"
"""The configuration: inside the package in a wheel, beside it in a checkout."""


def cache_folder() -> Path:
    """$XDG_CACHE_HOME/zoo, else ~/.cache/zoo."""
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path.home() / ".cache") / "zoo"


def exists(name: str | Path) -> bool:
    """Whether there is a file or folder of that name; a name that is too long, a list of settings for instance, names none."""
    return os.path.exists(name)  # noqa: PTH110 (Path's raises OSError then)


def data_root(root: str | Path | None) -> Path:
    """The folder that holds the data sets: the argument, else $ZOO_DATA, else the cache folder."""
    return Path(root or os.environ.get("ZOO_DATA") or cache_folder()).expanduser().absolute()


def rendered_root(root: str | Path | None) -> Path:
    """Where a rendered set goes: the place that was named for it, if it can be written to, else the cache folder. $ZOO_DATA is
    where others keep their sets, and nothing is added to it."""
    if not root:
        return cache_folder()
    chosen = data_root(root)
    nearest = chosen
    while not nearest.exists():
        nearest = nearest.parent
    return chosen if os.access(nearest, os.W_OK) else cache_folder()


BEST, LAST = "best.ckpt", "last.ckpt"
"""The checkpoints of a run folder: of the best validation, and the one to go on from."""


def checkpoint_of(folder: Path) -> Path:
    """The best checkpoint of a run folder, the last one where no epoch was finished. Raises ValueError: it has none."""
    for name in (BEST, LAST):
        if (path := folder / "checkpoints" / name).is_file():
            return path
    raise ValueError(f"The folder {folder} holds no checkpoint (checkpoints/best.ckpt). Name a checkpoint or a run folder.")


def safe_join(folder: Path, name: str) -> Path:
    """A file of a folder, by the name that a table or an archive gives it. Raises ValueError: the name leads out of it."""
    path = PurePath(os.path.normpath(name))
    if not name or "\0" in name or path.is_absolute() or path.parts[:1] == (os.pardir,):
        raise ValueError(f"The name {name!r} leads out of {folder}. Names are relative to the folder, and stay in it.")
    return folder / path


@contextlib.contextmanager
def alone(path: Path) -> Iterator[None]:
    """Let one process make a file or a folder, and the others that would make it wait; then they find it there.

    The system itself takes the lock back from a process that is killed. Where it has no such locks nobody waits.
    """
    try:
        import fcntl
    except ImportError:  # not on Windows
        yield
        return
    lock = cache_folder() / "locks" / hashlib.sha256(os.fsencode(path.absolute())).hexdigest()[:32]
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("a") as stream:
        with contextlib.suppress(OSError):  # a network disk may have none
            fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def new_folder(wanted: Path) -> Path:
    """Create a folder that nobody else has: under this name, or with -2, -3, ... behind it where there is one."""
    wanted.parent.mkdir(parents=True, exist_ok=True)
    number, path = 1, wanted
    while True:
        try:
            path.mkdir()
            return path
        except FileExistsError:
            number += 1
            path = wanted.with_name(f"{wanted.name}-{number}")


def replaceable(path: Path) -> Path:
    """Return the path if nothing is there, or a regular file that may be replaced.

    Raises ValueError where a link, a pipe, a device or a folder has its name: none of them is replaced, and a link in a folder
    that somebody else made leads anywhere.
    """
    if os.path.lexists(path) and (path.is_symlink() or not path.is_file()):
        raise ValueError(f"{path} is no regular file, so it is not replaced. Move it, or choose another folder.")
    return path


@contextlib.contextmanager
def written(
    path: Path, check: Callable[[Path], object] | None = None, *, partial: Path | None = None, resumed: bool = False
) -> Iterator[BinaryIO]:
    """A stream to a file beside the path, which takes its name when all is written and checked; whoever looks sees the whole
    file, or the one that was there before.

    Args:
        check: is handed the file, and raises if that is not what was to come (a login page, half an archive).
        partial: its name meanwhile, for a writer that is alone: what a kill leaves is then replaced by the next. Otherwise
            one that no other has.
        resumed: what is there of it is kept, and what comes is put behind; also where it does not come to its end.

    Raises ValueError where `replaceable` does.
    """
    replaceable(path)
    if partial is None:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:100]}-")
        partial = Path(name)
    else:
        if not resumed:
            partial.unlink(missing_ok=True)
        handle = os.open(replaceable(partial), os.O_WRONLY | os.O_CREAT | (os.O_APPEND if resumed else os.O_EXCL), 0o644)
    try:
        with os.fdopen(handle, "ab") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        resumed = False  # whole: if it is wrong now, it stays so
        partial.chmod(0o644)  # mkstemp makes private files; data are to be shared
        if check:
            check(partial)
        partial.replace(path)
    except BaseException:
        if not resumed:
            partial.unlink(missing_ok=True)
        raise


def write_whole(path: Path, content: bytes | memoryview) -> None:
    """Write a file so that whoever looks sees all of it or the file that was there before; see `written`."""
    with written(path) as stream:
        stream.write(content)


def read_outcome(path: Path, *keys: str) -> dict[str, Any]:
    """Read the JSON that a verb wrote about a run. Raises ValueError where the file cannot be read, or lacks a key."""
    try:
        content = json.loads(path.read_bytes()) if path.is_file() else None
    except (OSError, ValueError, RecursionError):
        content = None
    if not isinstance(content, dict) or not content.keys() >= {*keys}:
        raise ValueError(f"{path} is no outcome of this version. Move it, or choose another folder.")
    return content


def write_outcome(path: Path, content: Any) -> None:
    """Write what was measured as JSON. Where the file cannot be written, print it, and raise ValueError."""
    try:
        write_whole(path, (json_text(content, indent=1) + "\n").encode())
    except OSError as error:
        print(json_text(content), flush=True)
        raise ValueError(f"{path} could not be written: {error.strerror}. What it would say stands above.") from None
