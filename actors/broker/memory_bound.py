"""How much memory peers may make the broker hold before it ends their connections."""

from __future__ import annotations

FLOOD_BYTES = 256 << 20
SESSION_BYTES = 16 << 20
"""A flood is more than FLOOD_BYTES, and this for each session: a request of raw images, and those
in the robot's socket."""
HEADROOM_BYTES = 128 << 20
"""The broker acts this far below the limit at which the supervisor restarts it: more than a fast
peer on the same host sends between two checks."""
LEAST_BYTES = 32 << 20
"""Less than this is never a flood, whatever the limit."""


def max_growth_bytes(sessions: int, low_bytes: int, limit_bytes: int | None) -> int:
    """By how much `sessions` may let the broker grow over the `low_bytes` that it needs idle.

    `limit_bytes` is the supervisor's, of private memory; None for none. Where it leaves no headroom
    beside `low_bytes` the supervisor may act first.
    """
    most = FLOOD_BYTES + SESSION_BYTES * sessions
    if limit_bytes is not None:
        most = min(most, limit_bytes - HEADROOM_BYTES - low_bytes)
    return max(most, LEAST_BYTES)
