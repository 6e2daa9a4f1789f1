"""A sign of life where no terminal shows a bar: a line now and then in what is written to a file, by whatever takes long.

(No torch here: what reads files starts in a moment.)
"""

import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

EVERY = 60.0
"""Seconds between two lines."""


def on_terminal() -> bool:
    return sys.stdout is not None and sys.stdout.isatty()


def epoch_of(trainer: Any) -> str:
    """Which epoch a trainer is in, counted from 1, and of how many where their number decides."""
    last = trainer.max_epochs
    return f"Epoch {trainer.current_epoch + 1}" + (f"/{last}" if last is not None and last > 0 else "")


@contextlib.contextmanager
def beating(title: str, done: Callable[[], str] | None = None) -> Iterator[None]:
    """Say every minute that this goes on and, if that is known, how far it has come. On a terminal nothing is said: there bars
    are drawn."""
    over = threading.Event()
    begun = time.monotonic()

    def beat() -> None:
        while not over.wait(EVERY):
            how_far = f"{done()}, " if done else ""
            print(f"{title}: {how_far}{(time.monotonic() - begun) / 60:.1f} min so far", flush=True)

    thread = threading.Thread(target=beat, daemon=True)
    if not on_terminal():
        thread.start()
    try:
        yield
    finally:
        over.set()
        if thread.ident is not None:
            thread.join()
