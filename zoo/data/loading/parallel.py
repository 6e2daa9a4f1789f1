"""Work on many files at once, with a bar that shows how far it is. (No torch here: the processes start in a moment.)"""

import contextlib
import functools
import logging
import multiprocessing
import os
import pickle
import signal
import sys
import time
import types
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any, Generic, TypeVar

from zoo.common.progress import beating, log

SECONDS_TO_LEAVE = 2.0
"""In which a process that is asked to end may close and remove what it was writing."""

GUARD = (
    'A further process runs the script again that began it. Put what your script does below a line: if __name__ == "__main__":'
)

Item = TypeVar("Item")
Result = TypeVar("Result")


def mapped(
    work: Callable[[Item], Result],
    items: Sequence[Item],
    title: str,
    *,
    chunk: int = 1,
    processes: int | None = None,
    patience: float = float("inf"),
    lost: Callable[[Item, str], Result] | None = None,
) -> Iterator[Result]:
    """The results of `work` on each item, as they come, in no order; from processes of their own, under a progress bar.

    `work` and the items must be picklable. Stopping in the middle stops the processes: each leaves its work as at Ctrl-C. They
    do not run the user's script again, unless what they are to do is defined there.

    Args:
        chunk: items handed over at a time; more than one where they are small.
        processes: None is one a core.
        patience: seconds that a chunk may take before its process is killed.
        lost: the result of an item whose process died over it or was killed, and why (a library that reads files of all
            kinds may crash over one). None is an error.
    """
    waiting = [items[start : start + chunk] for start in range(0, len(items), chunk)][::-1]
    if not waiting:
        return
    if getattr(multiprocessing.current_process(), "_inheriting", False):  # a process begun here runs it again
        raise ValueError(GUARD)
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    workers = min(processes or os.cpu_count() or 1, len(waiting))
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    done = 0
    in_script = b"__main__" in pickle.dumps((work, items[:1]))
    begin = functools.partial(_Process, work, in_script)
    silent = not log.isEnabledFor(logging.INFO)
    with (
        # Before rich 15 a bar that is disabled leaves an empty line, if its console is not quiet.
        Progress(*columns, disable=silent, console=Console(quiet=True) if silent else None) as progress,
        beating(title, lambda: f"{done:,} of {len(items):,}"),
    ):
        bar = progress.add_task(title, total=len(items))
        busy = [begin() for _ in range(workers)]
        try:
            while busy:
                soonest = min(each.begun for each in busy) + patience - time.monotonic()
                ready = wait([each.pipe for each in busy], None if soonest == float("inf") else max(0.0, soonest))
                for each in list(busy):
                    if each.pipe in ready:
                        results, why = each.results()
                    elif time.monotonic() > each.begun + patience:
                        results, why = [], f"it was not done in {patience:g} seconds"
                    else:
                        continue
                    if why:
                        each.process.kill()
                        each.stop()
                        if in_script and not each.part:
                            raise ValueError(f"A process ended before it began: {why}. {GUARD}")
                        if lost is None or not each.part:
                            raise RuntimeError(f"A process failed: {why}.")
                        results = [lost(item, why) for item in each.part]
                        busy[busy.index(each)] = each = begin()
                    elif waiting:
                        each.begin(waiting.pop())
                    else:
                        each.pipe.close()  # which ends it
                        each.process.join()
                        busy.remove(each)
                    done += len(results)
                    progress.advance(bar, len(results))
                    yield from results
        finally:
            for each in busy:
                each.process.terminate()
            for each in busy:
                each.stop()


class _Process(Generic[Item, Result]):
    """A process that is handed a chunk when it is done with the one before. The first is empty: it says that it is there."""

    def __init__(self, work: Callable[[Item], Result], in_script: bool) -> None:
        # spawn: a forked child would inherit torch's thread pools in whatever state they are.
        context = multiprocessing.get_context("spawn")
        self.pipe, its = context.Pipe()
        self.process = context.Process(target=_serve, args=(work, its), daemon=True)
        with contextlib.nullcontext() if in_script else _script_hidden():
            self.process.start()
        its.close()
        self.part: Sequence[Item] = ()
        self.begun = float("inf")

    def begin(self, part: Sequence[Item]) -> None:
        self.part, self.begun = part, time.monotonic()
        self.pipe.send(part)

    def results(self) -> tuple[list[Result], str]:
        """The results of the chunk, or why there are none. Raises what `work` raised."""
        try:
            outcome = self.pipe.recv()
        except (EOFError, OSError):
            self.process.join()
            code = self.process.exitcode or 0
            return [], f"a process crashed over it ({signal.Signals(-code).name if code < 0 else f'status {code}'})"
        if isinstance(outcome, _Failure):
            raise outcome.error
        return outcome, ""

    def stop(self) -> None:
        self.process.join(SECONDS_TO_LEAVE)
        self.process.kill()
        self.process.join()
        self.pipe.close()


@contextlib.contextmanager
def _script_hidden() -> Iterator[None]:
    """multiprocessing has a process that begins here import the script that was started, which would do all it does again."""
    script = sys.modules["__main__"]
    sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = script


@dataclass(frozen=True)
class _Failure:
    error: Exception


def _serve(work: Callable[[Any], Any], pipe: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the main process's to answer: it ends this one
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # by way of what removes half a file
    part: Sequence[Any] = ()
    while True:
        outcome: Any
        try:
            outcome = [work(item) for item in part]
        except Exception as error:  # whatever it is, it is raised where the results are awaited
            outcome = _Failure(error)
        try:
            pipe.send(outcome)
            part = pipe.recv()
        except (EOFError, OSError):
            return
