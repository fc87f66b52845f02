"""`MissedTicks`: the ticks that a loop was not awake for, and which of them the machine caused.

A tick is missed when the loop was not awake before the next grid point. Shared machines pause by
themselves; a bare sleeping loop in another process, the witness (jitter_probe.py), oversleeps then
as well. And other processes take the processor: the kernel counts how long the loop was ready and
waited for one (`ProcessorWait`). A miss is judged a little later, once the witness has published
its pauses, and is the machine's as far as those and that wait reach: if what they leave of it is a
period or more, the loop would have missed a tick without them too, and the miss is its own. Until
then it counts as neither.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Callable, Sequence

from .plan_memory import Word

_PATIENCE_NS = 1_000_000_000
_KEPT = 64

Pause = tuple[int, int]
"""From when a witness should have woken up to when it did, monotonic ns."""


class MissedTicks:
    """Counts into `words` the misses of a loop of `period_ns`. `pauses` gives the latest ones that
    the witness saw; without a witness only the wait for a processor is the machine's."""

    def __init__(
        self, words: memoryview, period_ns: int, pauses: Callable[[], Sequence[Pause]] | None
    ):
        self._words = words
        self._period_ns = period_ns
        self._pauses = pauses
        self._pending: deque[tuple[int, int, int, Pause]] = deque()

    def missed(self, ticks: int, due_ns: int, woke_ns: int, waited_ns: int = 0) -> None:
        """A wake-up due at `due_ns` came at `woke_ns` and cost `ticks` grid points; until then the
        loop had waited `waited_ns` for a processor."""
        self._words[Word.MISSED] += ticks
        self._pending.append((due_ns, woke_ns, ticks, wait_until_run(woke_ns, waited_ns)))
        if len(self._pending) > _KEPT:
            self._judge()

    def settle(self, now_ns: int) -> None:
        """Judge what is old enough."""
        while self._pending and now_ns - self._pending[0][1] >= _PATIENCE_NS:
            self._judge()

    @property
    def own(self) -> int:
        """Missed ticks that the machine's pauses do not explain."""
        undecided = sum(ticks for _, _, ticks, _ in self._pending)
        return self._words[Word.MISSED] - self._words[Word.MISSED_MACHINE] - undecided

    @property
    def machine(self) -> int:
        return self._words[Word.MISSED_MACHINE]

    def _judge(self) -> None:
        due_ns, woke_ns, ticks, wait = self._pending.popleft()
        seen = self._pauses() if self._pauses else ()
        if not unexplained(due_ns, woke_ns, [*seen, wait], self._period_ns):
            self._words[Word.MISSED_MACHINE] += ticks


def wait_until_run(woke_ns: int, waited_ns: int) -> Pause:
    """A loop's wait for a processor that ended when it woke up, as a pause. Its parts may lie apart
    from each other before that; next to its end their sum explains no more than itself."""
    return woke_ns - waited_ns, woke_ns


def unexplained(due_ns: int, until_ns: int, pauses: Sequence[Pause], period_ns: int) -> bool:
    """Whether a loop whose wake-up was due at `due_ns` and came at `until_ns` would have missed a
    tick without the machine's `pauses` too: they leave a period or more of its lateness."""
    left_ns, at_ns = 0, due_ns
    for start_ns, end_ns in sorted(pauses):
        if start_ns < until_ns and end_ns > at_ns:
            left_ns += max(0, start_ns - at_ns)
            at_ns = end_ns
    return left_ns + max(0, until_ns - at_ns) >= period_ns


def pauses_in(payload: bytes | None) -> list[Pause]:
    """The pauses in `payload`, the value of the witness's register; none without a value."""
    if payload is None:
        return []
    edges = struct.unpack_from(f"={2 * (len(payload) // 16)}q", payload)
    return list(zip(edges[::2], edges[1::2], strict=True))
