"""`MissedTicks`: the ticks that a loop was not awake for, and which of them were the machine's.

A tick is missed when the loop was not awake before the next grid point. Shared machines pause by
themselves; a bare sleeping loop in another process, the witness, oversleeps then as well. A miss is
judged a little later, when the witness has had its turn to say so, and is the machine's if the
witness overslept while it lasted. Until then it counts as neither.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Callable

from .plan_memory import Word

_PATIENCE_NS = 1_000_000_000
_KEPT = 64


class MissedTicks:
    """Counts into `words`. `overslept(start_ns, end_ns)` says whether the witness did, in between;
    without a witness every miss is the loop's own."""

    def __init__(self, words: memoryview, overslept: Callable[[int, int], bool] | None):
        self._words = words
        self._overslept = overslept
        self._pending: deque[tuple[int, int, int]] = deque()

    def missed(self, ticks: int, due_ns: int, woke_ns: int) -> None:
        """A wake-up due at `due_ns` came at `woke_ns` and cost `ticks` grid points."""
        self._words[Word.MISSED] += ticks
        self._pending.append((due_ns, woke_ns, ticks))
        if len(self._pending) > _KEPT:
            self._judge()

    def settle(self, now_ns: int) -> None:
        """Judge what is old enough."""
        while self._pending and now_ns - self._pending[0][1] >= _PATIENCE_NS:
            self._judge()

    @property
    def own(self) -> int:
        """Missed ticks that nothing but the loop is to blame for."""
        undecided = sum(ticks for _, _, ticks in self._pending)
        return self._words[Word.MISSED] - self._words[Word.MISSED_MACHINE] - undecided

    @property
    def machine(self) -> int:
        return self._words[Word.MISSED_MACHINE]

    def _judge(self) -> None:
        due_ns, woke_ns, ticks = self._pending.popleft()
        if self._overslept is not None and self._overslept(due_ns, woke_ns):
            self._words[Word.MISSED_MACHINE] += ticks


def overlaps(payload: bytes | None, start_ns: int, end_ns: int) -> bool:
    """Whether the witness overslept at any time in [start_ns, end_ns], by its register's value."""
    if payload is None:
        return False
    pairs = len(payload) // 16
    edges = struct.unpack_from(f"={2 * pairs}q", payload)
    return any(
        begin <= end_ns and end >= start_ns
        for begin, end in zip(edges[::2], edges[1::2], strict=True)
    )
