"""The beginning of every piece of shared memory: a magic word and a layout version."""

from __future__ import annotations

from collections.abc import Callable
from mmap import mmap
from typing import TypeVar

from ..errors import LayoutError
from .fence import LINE, fence

T = TypeVar("T")


def expect(head: memoryview, magic: int, version: int, what: str, error: type[LayoutError]) -> None:
    """Raise `error` unless the first two words of `head` are `magic` and `version`."""
    if (head[0], head[1]) != (magic, version):
        raise error(
            f"the memory begins with {head[0]:#018x}, layout {head[1]}; {what} begins with "
            f"{magic:#018x}, layout {version}: it was made by another version or for another use; "
            "restart the fleet so that segments are created anew"
        )


def own(buffer: memoryview | mmap | bytearray, make: Callable[[memoryview], T]) -> T:
    """`make(buffer)` for the only writer of `buffer`; memory of another layout is zeroed first."""
    # Without that a restarted process would fail on damaged memory every time.
    memory = memoryview(buffer).cast("B")
    try:
        return make(memory)
    except LayoutError:
        # The header first: a reader that finds it as it was has read nothing of what is zeroed.
        memory[:LINE] = bytes(LINE)
        fence()
        memory[LINE:] = bytes(len(memory) - LINE)
        return make(memory)
