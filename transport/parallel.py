"""`in_two_threads`: one function over several items, for functions that release the interpreter's
lock, as image codecs do.

Guarantees that the caller waits for nothing but work that was begun: a second thread that the
machine does not run leaves all of it to the first. The second thread ends with the process.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable
from functools import cache
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_two_threads(work: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
    """`work` of each item, in order. What it raises for one of them is raised here, and items that
    were not begun are left out."""
    waiting = deque(enumerate(items))
    results: dict[int, Result] = {}

    def run() -> None:
        while (taken := _next(waiting)) is not None:
            place, item = taken
            try:
                results[place] = work(item)
            except BaseException:
                waiting.clear()
                raise

    if len(waiting) > 1 and _processors() > 1:
        second = _pool().submit(run)
        try:
            run()
        finally:
            if not second.cancel():
                second.result()
    else:
        run()
    return [results[place] for place in range(len(results))]


def _next(waiting: deque[tuple[int, Item]]) -> tuple[int, Item] | None:
    try:
        return waiting.popleft()
    except IndexError:
        return None


@cache
def _processors() -> int:
    return len(os.sched_getaffinity(0))


@cache
def _pool() -> ThreadPoolExecutor:
    from concurrent.futures import ThreadPoolExecutor  # here: most processes need none

    return ThreadPoolExecutor(1, thread_name_prefix="codec")
