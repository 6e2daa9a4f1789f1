"""Where the project keeps what it rendered or downloaded, and how processes that want the same thing wait for one another."""

import contextlib
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path


def cache_folder() -> Path:
    """$XDG_CACHE_HOME/zoo, else ~/.cache/zoo."""
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path.home() / ".cache") / "zoo"


@contextlib.contextmanager
def alone(path: Path) -> Iterator[None]:
    """Of the processes that would make the same file or folder, one works and the others wait; then they find it there.

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
