"""An actor's board: its progress and its last report in shared memory.

Guaranteed: a reader never waits for the actor and never sees half a report; the last report of a
killed actor stays readable, for the supervisor and for the next incarnation; a damaged board reads
as empty. The board does not show whether the actor is alive, only that its loop made progress, and
when.

Layout: progress count (u64), instant of the last progress (monotonic ns, i64), the call that runs
(length, then UTF-8, 48 bytes), then a `Seqlock` that holds the last report as MessagePack. Only the
actor writes.
"""

from __future__ import annotations

import mmap
import time
from typing import Any

import msgspec

from ...errors import SeqlockError
from ...transport.seqlock import Seqlock

_WORDS = 64
_CALL = slice(16, _WORDS)
REPORT_BYTES = 64 * 1024
"""Of the largest report, but for a broker's. Pages that are never written take no memory."""
BROKER_REPORT_BYTES = 4 * REPORT_BYTES
"""Of many robots, and of the actors of all hosts."""
BOARD_SIZE = _WORDS + Seqlock.size_for(REPORT_BYTES)
BROKER_BOARD_SIZE = _WORDS + Seqlock.size_for(BROKER_REPORT_BYTES)

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(dict[str, Any])


class StatusBoard:
    """The actor's end of its board."""

    def __init__(self, memory: mmap.mmap | memoryview) -> None:
        view = memoryview(memory)
        self._words = view[:16].cast("q")
        self._call = view[_CALL]
        self.calls("")
        self._register = Seqlock.owned(view[_WORDS:])
        self._previous = _report(self._register)
        self.oversized = 0
        """Reports dropped because the board has no room for them."""

    def previous(self) -> dict[str, Any] | None:
        """The last report of the previous incarnation; None for the first one."""
        return self._previous

    def progress(self) -> None:
        """Count one turn of the actor's own loop. Costs a clock reading and two stores."""
        self._words[0] += 1
        self._words[1] = time.monotonic_ns()

    def calls(self, name: str) -> None:
        """Note which call of foreign code runs from now on, which may not return; empty: none."""
        text = name.encode()[: len(self._call) - 1]
        self._call[: len(text) + 1] = bytes((len(text),)) + text

    @property
    def turns(self) -> int:
        """Turns of the actor's loop so far, over all incarnations."""
        return self._words[0]

    def report(self, status: dict[str, Any]) -> bool:
        """Publish `status` (MessagePack types only); to be called a few times a second at most.

        Returns False when the board has no room for it: the previous report stays, because an
        actor must not fail over a report.
        """
        packed = _encoder.encode(status)
        if len(packed) > self._register.capacity:
            self.oversized += 1
            return False
        self._register.write(packed)
        return True


class StatusBoardReader:
    """The reader's end: any process that maps the segment may have one."""

    def __init__(self, memory: mmap.mmap | memoryview) -> None:
        view = memoryview(memory)
        self._words = view[:16].cast("q")
        self._call = view[_CALL]
        self._register = Seqlock(view[_WORDS:], writable=False)

    def progress(self) -> tuple[int, int]:
        """(turns of the actor's loop so far over all incarnations, instant of the last one)."""
        return self._words[0], self._words[1]

    def call(self) -> str:
        """The call of foreign code that runs, as the actor noted it; empty if none does."""
        noted = bytes(self._call)
        return noted[1 : noted[0] + 1].decode(errors="replace")

    def report(self) -> dict[str, Any] | None:
        """The last report; None if there never was one, or if it is damaged."""
        return _report(self._register)


def _report(register: Seqlock) -> dict[str, Any] | None:
    """The report in `register`; None if there is none, or it is damaged."""
    try:
        packed = register.read()
        return None if packed is None else _decoder.decode(packed)
    except (SeqlockError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
