"""How long the broker waits before it looks for the messages of many robots. Pure.

To be woken costs several times what a message costs: those of many robots are better handled a few
at once. It adds `GATHER_NS` to an answer's way at most twice, for robots that ask half a second
ahead.
"""

from __future__ import annotations

CROWD = 32
"""From so many sessions on the broker looks for messages once in `GATHER_NS` at most."""
GATHER_NS = 3_000_000


def gather_ns(sessions: int, turned_ns: int, now_ns: int, *, more: bool) -> int:
    """How long to sleep now. The last turn began at `turned_ns`, and left messages for the next one
    if there are `more`."""
    if more or sessions < CROWD:
        return 0
    return max(0, turned_ns + GATHER_NS - now_ns)
