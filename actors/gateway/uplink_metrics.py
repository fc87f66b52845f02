"""The metrics of a robot's link: what its requests take, their limit, when the broker answers."""

from __future__ import annotations

from collections.abc import Iterator

from .metric_points import Point, Report, scaled


def of_link(prefix: str, labels: tuple[str, ...], robot: Report) -> Iterator[Point]:
    """Those of a robot's row, as `<prefix>_uplink_...`; none where the row says nothing of it."""
    link = robot.get("uplink")
    if not link:
        return
    for name, (key, unit) in _OF_LINK.items():
        yield f"{prefix}_{name}", labels, scaled(link.get(key), unit)
    for what in ("quality", "rate"):
        limited = robot.get("uplink_limit") == what
        yield f"{prefix}_uplink_limited", (*labels, what), limited


_OF_LINK = {
    "uplink_request_bytes": ("request_bytes", 1.0),
    "uplink_bytes_per_second": ("kbps", 125.0),
    "uplink_limit_bytes_per_second": ("max_kbps", 125.0),
    "uplink_jpeg_quality": ("jpeg_quality", 1.0),
    "heartbeat_round_trip_seconds": ("round_trip_ms", 1e-3),
    "heartbeat_waiting_seconds": ("waiting_ms", 1e-3),
}
