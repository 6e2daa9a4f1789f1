"""Work ahead of who asks for it."""

import threading
from collections.abc import Iterator

import pytest

from zoo.common.ahead import ahead


def counted(taken: list[int], most: int = 1000) -> Iterator[int]:
    for number in range(most):
        taken.append(number)
        yield number


@pytest.mark.parametrize("workers", [1, 3])
def test_results_come_in_the_order_of_their_items(workers: int) -> None:
    wait = threading.Event()

    def work(number: int) -> int:
        if number == 0 and workers > 1:
            wait.wait(5)  # the first is done last
        if number == 1:
            wait.set()
        return 2 * number

    assert list(ahead(work, counted([], 50), workers, lambda: None)) == [2 * number for number in range(50)]
    assert list(ahead(work, [], workers, lambda: None)) == []


def test_no_more_is_taken_than_waits() -> None:
    taken: list[int] = []
    results = ahead(str, counted(taken), 2, lambda: None)
    assert [next(results) for _ in range(3)] == ["0", "1", "2"]
    results.close()  # type: ignore[attr-defined]
    assert len(taken) <= 3 + 4


def test_an_error_comes_in_its_place() -> None:
    def items() -> Iterator[int]:
        yield from range(3)
        raise OSError("torn")

    results = ahead(lambda number: 1 // (2 - number) if number > 1 else number, items(), 2, lambda: None)
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(ZeroDivisionError):
        next(results)
    results = ahead(abs, items(), 2, lambda: None)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(OSError, match="torn"):
        next(results)


def test_each_thread_begins() -> None:
    begun: set[str] = set()
    list(ahead(abs, range(20), 2, lambda: begun.add(threading.current_thread().name)))
    assert 1 <= len(begun) <= 2
    assert threading.current_thread().name not in begun
