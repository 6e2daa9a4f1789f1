"""What a signal does to a verb. SIGTERM, SIGUSR1 and Ctrl-C raise `Stopped` in the main thread, so that files are closed and a
last sentence is printed. The verb's child processes are ended too; and where the main thread is blocked, by a reader that
waits for ever for instance, the process ends without it.
"""

import contextlib
import multiprocessing
import multiprocessing.resource_tracker
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

AGAIN = getattr(os, "EX_TEMPFAIL", 75)
"""75, "try again later" (sysexits.h): the status of a verb that was asked to stop and that the same command goes on with. It is
the code to name in SLURM's `RequeueExit`, or to look for in a job script."""
STOPPING = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGINT", "SIGUSR1") if hasattr(signal, name))
"""What a scheduler sends before it takes the machine away (SIGTERM, or SIGUSR1 by `sbatch --signal=USR1@120`), and Ctrl-C."""
PATIENCE = 5.0
"""Seconds that the way out may take after a signal."""


class Stopped(SystemExit):
    """The verb was asked to stop. `said` is the last sentence that is printed; handlers may extend it."""

    def __init__(self, status: int, said: str = "") -> None:
        super().__init__(status)
        self.said = said

    def tell(self) -> None:
        """Print it once, on standard error, where it disturbs no program that reads the output."""
        if self.said and _rank() == 0:
            print(f"\n{self.said}", file=sys.stderr, flush=True)
        self.said = ""


def _rank() -> int:
    """This process's number in its run; the first one speaks."""
    return int(os.environ.get("RANK") or os.environ.get("SLURM_PROCID") or os.environ.get("LOCAL_RANK") or 0)


@contextlib.contextmanager
def stopping(resumes: str | None) -> Iterator[None]:
    """Let signals raise `Stopped`, and print at the end that they did. See `verb` for `resumes`."""
    leaving: list[threading.Timer] = []
    threads = threading.enumerate()

    def stop(number: int, frame: FrameType | None) -> None:
        status = AGAIN if resumes is not None and number != signal.SIGINT else 128 + number
        if leaving:  # on the way out already: only the one who asks at a keyboard is heard a second time
            if number == signal.SIGINT:
                leave(status)
            return
        leaving.append(threading.Timer(PATIENCE, leave, (status,)))
        leaving[0].daemon = True
        leaving[0].start()
        name = "Ctrl-C" if number == signal.SIGINT else signal.Signals(number).name
        raise Stopped(status, f"Stopped by {name}. {resumes or ''}".strip())

    before = handled(stop, *STOPPING)
    try:
        yield
    except Stopped as stopped:  # the progress bar has left the screen by now
        stopped.tell()
        raise
    finally:
        # A thread that does not end would keep the process at its exit.
        if all(each.daemon for each in threading.enumerate() if each not in threads):
            for timer in leaving:
                timer.cancel()
                timer.join()
        for number, handler in before.items():
            handled(handler, number)


def handled(handler: Any, *numbers: int) -> dict[int, Any]:
    """Install a handler of signals; return the handlers of before. (Python can do it in the main thread alone.)"""
    if threading.current_thread() is not threading.main_thread():
        return {}
    return {number: signal.signal(number, signal.SIG_DFL if handler is None else handler) for number in numbers}


def fail(said: str) -> NoReturn:
    """Print an error and end at once, with all child processes."""
    os.write(2, f"Error: {said}\n".encode())
    _end(_descendants())
    os._exit(1)


def leave(status: int) -> None:
    """End at once, with all child processes: something blocks."""
    _end(_descendants())
    os.write(2, b"\nStopped in the midst of something that does not end.\n")
    os._exit(status)


def _descendants() -> set[int]:
    """The descendants of this process; not multiprocessing's keeper of shared memory, which ends itself."""
    if not Path("/proc/self/task").is_dir():
        return {child.pid for child in multiprocessing.active_children() if child.pid}
    keeper = getattr(multiprocessing.resource_tracker._resource_tracker, "_pid", None)
    found: set[int] = set()
    to_ask = [os.getpid()]
    while to_ask:
        for path in Path(f"/proc/{to_ask.pop()}/task").glob("*/children"):
            with contextlib.suppress(OSError):
                to_ask += [pid for each in path.read_text().split() if (pid := int(each)) != keeper and pid not in found]
        found.update(to_ask)
    return found


def _end(processes: set[int], patience: float = 3.0) -> None:
    """Ask processes to end, then make them."""
    for number, wait in ((signal.SIGTERM, patience), (signal.SIGKILL, 0.0)):
        for pid in processes:
            with contextlib.suppress(OSError):
                os.kill(pid, number)
        until = time.monotonic() + wait
        while (processes := {pid for pid in processes if _runs(pid)}) and time.monotonic() < until:
            time.sleep(0.02)


def _runs(pid: int) -> bool:
    """Whether a process is more than an entry that its parent has not read yet."""
    with contextlib.suppress(OSError):
        os.kill(pid, 0)
        state = Path(f"/proc/{pid}/stat")
        return not state.exists() or state.read_text().rpartition(") ")[2][:1] != "Z"
    return False
