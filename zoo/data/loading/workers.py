"""A worker of a loader: what it tells the main process, and which signals it heeds."""

import contextlib
import os
import signal
import threading
from collections.abc import Iterator

from torch import Tensor

from zoo.common.files import Unreadable as Unreadable

NOTHING = -1
_reading: tuple[Tensor, int] | None = None
"""In a loader's worker: the table that it shares with the main process, and its own place there."""


def now_reading(number: int) -> None:
    """Tell the main process what this worker is reading, so that it can be named if it is never done."""
    if _reading is not None:
        _reading[0][_reading[1]] = number


def begin(reading: Tensor, worker: int) -> None:
    """In a worker, first of all. A scheduler signals every process of a job, Ctrl-C every one of a terminal: what is to be done
    is the main process's to decide, which needs its workers until the step is over."""
    global _reading
    _reading = reading, worker
    if hasattr(signal, "sigwaitinfo"):  # not on Windows, nor on a Mac
        for number in (signal.SIGINT, signal.SIGUSR1):
            signal.signal(number, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()


@contextlib.contextmanager
def held_back() -> Iterator[None]:
    """Signals wait meanwhile, and for ever in a process that is begun meanwhile: a worker that has not reached `begin` yet
    would die of what is meant for the main process."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT, signal.SIGUSR1})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _end_with(parent: int) -> None:
    """Wait for the parent's own SIGTERM, which ends a worker that hangs."""
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != parent:
        pass
    os._exit(0)
