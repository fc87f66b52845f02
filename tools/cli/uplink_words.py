"""What a robot's link carries, in words for a table."""

from __future__ import annotations

from typing import Any

_SMALL_BYTES = 10_000
"""Requests below carry no images."""


def uplink(row: dict[str, Any]) -> str:
    """What a robot's link carries: `312 of 400 kbit/s, 45 kB q72`, the limit only where there is
    one, the quality of JPEG only. Empty for one whose images stay in shared memory."""
    link = row.get("uplink") or {}
    size, quality, most = (link.get(k, 0) for k in ("request_bytes", "jpeg_quality", "max_kbps"))
    if not size or (not quality and size < _SMALL_BYTES):
        return ""
    limit = f" of {most:.0f}" if most else ""
    lowered = f" q{quality:.0f}" if quality else " raw"
    return f"{link.get('kbps', 0):.0f}{limit} kbit/s, {size / 1000:.0f} kB{lowered}"
