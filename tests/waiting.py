"""How the tests wait: for a condition, up to a deadline, never for a fixed time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def wait_until(
    condition: Callable[[], T | None], why: str = "", within_s: float = 60.0, every_s: float = 0.01
) -> T:
    """The first truthy value of `condition`, which is called every `every_s` seconds; after
    `within_s` seconds an AssertionError with `why` and the last value."""
    deadline_s = time.monotonic() + within_s
    while not (value := condition()):
        if time.monotonic() >= deadline_s:
            raise AssertionError(
                f"{why or 'the condition'}: not within {within_s} s (last: {value!r})"
            )
        time.sleep(every_s)
    return value
