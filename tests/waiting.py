"""How the tests wait: for a condition, up to a deadline, never for a fixed time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

LONGEST_PAUSE_S = 0.1

T = TypeVar("T")


def wait_until(
    condition: Callable[[], T | None], why: str = "", within_s: float = 60.0, every_s: float = 0.01
) -> T:
    """The first truthy value of `condition`, which is called every `every_s` seconds; after
    `within_s` seconds an AssertionError with `why` and the last value. A call that takes long is
    followed by a pause as long, of `LONGEST_PAUSE_S` at most; with `every_s` 0 there is none."""
    called_s = time.monotonic()
    deadline_s = called_s + within_s
    while not (value := condition()):
        now_s = time.monotonic()
        if now_s >= deadline_s:
            raise AssertionError(
                f"{why or 'the condition'}: not within {within_s} s (last: {value!r})"
            )
        cost_s = min(now_s - called_s, LONGEST_PAUSE_S)
        time.sleep(max(every_s, cost_s) if every_s else 0)
        called_s = time.monotonic()
    return value
