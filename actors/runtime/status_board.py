"""An actor's board: what it says about itself in shared memory, readable without its cooperation.

The board guarantees that a reader never waits for the actor and never sees half a report, and that
what a killed actor reported last stays readable, for the supervisor and for its next incarnation;
a board that something else has written over reads as empty.
It does not say whether the actor is alive: only that its own loop made progress, and when.

Layout: progress count (u64), instant of the last progress (monotonic ns, i64), padding to 64 bytes,
then a `Seqlock` that holds the last report as MessagePack. Only the actor writes.
"""

from __future__ import annotations

import mmap
import time
from typing import Any

import msgspec

from ...errors import SeqlockError
from ...transport.seqlock import Seqlock

_WORDS = 64
REPORT_BYTES = 64 * 1024
"""Of the largest report, a broker's of many robots. Memory that is never written is never used."""
BOARD_SIZE = _WORDS + Seqlock.size_for(REPORT_BYTES)

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(dict[str, Any])


class StatusBoard:
    """The actor's end of its board."""

    def __init__(self, memory: mmap.mmap | memoryview) -> None:
        view = memoryview(memory)
        self._words = view[:16].cast("q")
        self._register = Seqlock.owned(view[_WORDS:])
        self._previous = _report(self._register)
        self.oversized = 0
        """Reports dropped because they exceed REPORT_BYTES."""

    def previous(self) -> dict[str, Any] | None:
        """What the previous incarnation reported last; None for the first one."""
        return self._previous

    def progress(self) -> None:
        """Count one turn of the actor's own loop. Costs a clock reading and two stores."""
        self._words[0] += 1
        self._words[1] = time.monotonic_ns()

    @property
    def turns(self) -> int:
        """Turns of the actor's loop so far, over all incarnations."""
        return self._words[0]

    def report(self, status: dict[str, Any]) -> bool:
        """Publish `status` (MessagePack types only); the caller throttles, a few times a second.

        Returns False when it is larger than REPORT_BYTES: the previous one stays, because an actor
        must not fail over what it says about itself.
        """
        packed = _encoder.encode(status)
        if len(packed) > REPORT_BYTES:
            self.oversized += 1
            return False
        self._register.write(packed)
        return True


class StatusBoardReader:
    """The supervisor's end: any process that maps the segment may have one."""

    def __init__(self, memory: mmap.mmap | memoryview) -> None:
        view = memoryview(memory)
        self._words = view[:16].cast("q")
        self._register = Seqlock(view[_WORDS:], writable=False)

    def progress(self) -> tuple[int, int]:
        """(turns of the actor's loop so far over all incarnations, instant of the last one)."""
        return self._words[0], self._words[1]

    def report(self) -> dict[str, Any] | None:
        """The last report; None if there never was one, or if it is damaged."""
        return _report(self._register)


def _report(register: Seqlock) -> dict[str, Any] | None:
    """The report in `register`; None if there is none, or what there is cannot be read."""
    try:
        packed = register.read()
        return None if packed is None else _decoder.decode(packed)
    except (SeqlockError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
