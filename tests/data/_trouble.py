"""What test_prepared.py has processes of their own do. (No torch and no pytest here: they start in a moment.)"""

import os
import signal
import time
from pathlib import Path

from zoo.common.files import Unreadable
from zoo.data.reading.ledger import Entry
from zoo.data.reading.prepared import Job, work


def doubled(number: int) -> int:
    """What a library does with odd files: it crashes, hangs, exits, or raises."""
    if number == 3:
        os.kill(os.getpid(), signal.SIGSEGV)
    if number == 5:
        time.sleep(600)
    if number == 7:
        os._exit(3)
    if number == 9:
        raise Unreadable(Path("nine"), "it is nine")
    return 2 * number


def troubled(job: Job) -> Entry:
    """A decoder that crashes over one file and hangs over another."""
    if "crash" in job.name:
        os.abort()
    if "hang" in job.name:
        time.sleep(600)
    return work(job)
