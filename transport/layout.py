"""What every piece of shared memory begins with: a magic word and a layout version."""

from __future__ import annotations


class LayoutError(Exception):
    """The memory is not laid out as its user expects: the message says what to do."""


def expect(head: memoryview, magic: int, version: int, what: str, error: type[LayoutError]) -> None:
    """Raise `error` unless the first two words of `head` are `magic` and `version`."""
    if (head[0], head[1]) != (magic, version):
        raise error(
            f"the memory begins with {head[0]:#018x}, layout {head[1]}; {what} begins with "
            f"{magic:#018x}, layout {version}: it was made by another version or for another use; "
            "restart the fleet so that segments are created anew"
        )
