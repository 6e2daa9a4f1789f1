"""The logger of the package, and a line now and then where no terminal shows a bar.

It goes to the logger `zoo`. A verb shows it on standard output; a caller in Python sees it if they ask for it, by
`logging.basicConfig(level="INFO")`. (No torch here: what reads files starts in a moment.)
"""

import contextlib
import logging
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

EVERY = 60.0
"""Seconds between two lines."""
log = logging.getLogger("zoo")


class _Screen(logging.Handler):
    """Standard output as it is when something is said, which tests and notebooks exchange."""

    def __init__(self, to_a_person: bool) -> None:
        super().__init__()
        self.to_a_person = to_a_person

    def emit(self, record: logging.LogRecord) -> None:
        print(record.getMessage(), flush=True)


def to_a_person() -> bool:
    """Whether a verb is run from the command line, so that nobody asks for the line of code that a warning comes from."""
    return any(isinstance(each, _Screen) and each.to_a_person for each in log.handlers)


@contextlib.contextmanager
def speaking(*, to_a_person: bool = False) -> Iterator[None]:
    """Show the logger's messages on standard output, as verbs do, and to no other handler."""
    if any(isinstance(each, _Screen) for each in log.handlers):
        yield
        return
    screen, before = _Screen(to_a_person), (log.level, log.propagate)
    log.addHandler(screen)
    log.setLevel(logging.INFO)
    log.propagate = False
    try:
        yield
    finally:
        log.removeHandler(screen)
        log.propagate = before[1]
        log.setLevel(before[0])


def on_terminal() -> bool:
    return sys.stdout is not None and sys.stdout.isatty()


def epoch_of(trainer: Any) -> str:
    """The epoch that a trainer is in, counted from 1, and the number of epochs where it ends the run."""
    last = trainer.max_epochs
    return f"Epoch {trainer.current_epoch + 1}" + (f"/{last}" if last is not None and last > 0 else "")


@contextlib.contextmanager
def beating(title: str, done: Callable[[], str] | None = None) -> Iterator[None]:
    """Log every minute that this goes on and, if that is known, how far it has come. A terminal shows bars instead."""
    over = threading.Event()
    begun = time.monotonic()

    def beat() -> None:
        while not over.wait(EVERY):
            how_far = f"{done()}, " if done else ""
            log.info("%s: %s%.1f min so far", title, how_far, (time.monotonic() - begun) / 60)

    thread = threading.Thread(target=beat, daemon=True)
    if not on_terminal():
        thread.start()
    try:
        yield
    finally:
        over.set()
        if thread.ident is not None:
            thread.join()
