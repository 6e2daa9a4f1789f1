"""Work that is done in threads before it is asked for."""

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

Item = TypeVar("Item")


def ahead(work: Callable[[Item], Any], items: Iterable[Item], workers: int, begin: Callable[[], Any]) -> Iterator[Any]:
    """As `map(work, items)`: while a thread takes the next item, others work. An error comes in its place.

    Args:
        workers: threads; up to twice as many results wait.
        begin: called first in each thread.
    """
    iterator, lock, end = iter(items), threading.Lock(), object()
    turns: deque[Future[Any]] = deque()

    def job() -> None:
        turn: Future[Any] = Future()
        try:
            with lock:
                turns.append(turn)
                item: Any = next(iterator, end)
            turn.set_result(end if item is end else work(item))
        except BaseException as error:
            turn.set_exception(error)

    with ThreadPoolExecutor(workers, initializer=begin) as pool:
        jobs = deque(pool.submit(job) for _ in range(2 * workers))
        while True:
            jobs.popleft().result()  # so that there is a turn
            found = turns.popleft().result()
            if found is end:
                return
            jobs.append(pool.submit(job))
            yield found
