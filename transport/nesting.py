"""How deeply a MessagePack body nests, found without decoding it and without recursion.

Unknown keys are skipped by a decoder that recurses into their values; this bounds how far.
"""

from __future__ import annotations

from ..errors import WireError

# The bytes that open a map or an array. Others may hold them too, in text or numbers, but a body
# with at most `limit` such bytes cannot nest deeper than `limit`: nearly all bodies pass by that.
_OPENING = bytes([*range(0x80, 0xA0), 0xDC, 0xDD, 0xDE, 0xDF])
_OTHER = bytes(set(range(256)) - set(_OPENING))

# Bytes that follow the first one of each type of a fixed size; 0xc1 is not used by the format.
_FIXED = {0xC0: 0, 0xC2: 0, 0xC3: 0, 0xCA: 4, 0xCB: 8, 0xCC: 1, 0xCD: 2, 0xCE: 4, 0xCF: 8}
_FIXED |= {0xD0: 1, 0xD1: 2, 0xD2: 4, 0xD3: 8, 0xD4: 2, 0xD5: 3, 0xD6: 5, 0xD7: 9, 0xD8: 17}
# Width of the length that follows, and bytes beside the payload (an extension's type).
_SIZED = {0xC4: (1, 0), 0xC5: (2, 0), 0xC6: (4, 0), 0xC7: (1, 1), 0xC8: (2, 1), 0xC9: (4, 1)}
_SIZED |= {0xD9: (1, 0), 0xDA: (2, 0), 0xDB: (4, 0)}
# Width of the count that follows, and values per entry.
_CONTAINERS = {0xDC: (2, 1), 0xDD: (4, 1), 0xDE: (2, 2), 0xDF: (4, 2)}


def check(body: bytes, limit: int) -> None:
    """Raise WireError("nesting") if maps and arrays of `body` lie more than `limit` deep.

    Time and memory are bounded by the length of `body`, whatever sizes it declares.
    """
    if len(body.translate(None, _OTHER)) <= limit:
        return
    open_values: list[int] = []  # of each container around this place: values still to come
    at = 0
    while at < len(body):
        values, at = _step(body, at)
        if open_values:
            open_values[-1] -= 1
        if values:
            open_values.append(values)
            if len(open_values) > limit:
                raise WireError("nesting", f"maps and lists lie more than {limit} deep in a body")
        while open_values and open_values[-1] == 0:
            open_values.pop()


def _step(body: bytes, at: int) -> tuple[int, int]:
    """How many values the value at `at` contains, and where the next one begins."""
    first = body[at]
    at += 1
    if first < 0x80 or first >= 0xE0:  # a small integer
        return 0, at
    if first < 0x90:
        return 2 * (first & 0x0F), at
    if first < 0xA0:
        return first & 0x0F, at
    if first < 0xC0:
        return 0, at + (first & 0x1F)
    if first in _CONTAINERS:
        width, per_entry = _CONTAINERS[first]
        return per_entry * int.from_bytes(body[at : at + width], "big"), at + width
    if first in _SIZED:
        width, beside = _SIZED[first]
        return 0, at + width + beside + int.from_bytes(body[at : at + width], "big")
    return 0, at + _FIXED.get(first, 0)
