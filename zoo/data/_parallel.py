"""Work on many files at once, with a bar that shows how far it is. (No torch here: the processes start in a moment.)"""

import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def mapped(
    work: Callable[[Item], Result], items: Sequence[Item], title: str, *, chunk: int = 1, processes: int | None = None
) -> Iterator[Result]:
    """The results of `work` on each item, as they come, in no order; from processes of their own, under a progress bar.

    `work` and the items must be picklable. Stopping in the middle stops the processes once each is done with its chunk.

    Args:
        chunk: items handed over at a time; more than one where they are small.
        processes: None is one a core.
    """
    chunks = [items[start : start + chunk] for start in range(0, len(items), chunk)]
    if not chunks:
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    # spawn: a forked child would inherit torch's thread pools in whatever state they are.
    context = multiprocessing.get_context("spawn")
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    workers = min(processes or os.cpu_count() or 1, len(chunks))
    with ProcessPoolExecutor(workers, mp_context=context) as pool, Progress(*columns) as progress:
        bar = progress.add_task(title, total=len(items))
        futures = [pool.submit(_each, work, part) for part in chunks]
        try:
            for future in as_completed(futures):
                results = future.result()
                progress.advance(bar, len(results))
                yield from results
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _each(work: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    return [work(item) for item in items]
