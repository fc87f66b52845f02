"""The metrics of services, from which the number of their replicas can be controlled."""

from __future__ import annotations

from collections.abc import Iterator

from .metric_points import Point, Report, quantiles, scaled


def of_service(service: Report) -> Iterator[Point]:
    """Those of a row of the broker's services."""
    name = (service["name"],)
    for metric, key in _OF_SERVICE.items():
        yield metric, name, service.get(key)
    for metric, key in _SERVICE_DURATIONS.items():
        yield from quantiles(metric, name, service.get(key, {}), 1e-3)
    yield "holdfast_service_slo_seconds", name, scaled(service.get("slo_ms"), 1e-3)


_OF_SERVICE = {
    "holdfast_service_replicas": "replicas",
    "holdfast_service_replicas_wanted": "wanted",
    "holdfast_service_sessions": "sessions",
    "holdfast_service_robots_waiting": "waiting",
    "holdfast_service_offered_load": "offered",
    "holdfast_service_requests_per_second": "requests_per_s",
    "holdfast_service_slack_misses_per_second": "misses_per_s",
    "holdfast_service_superseded_per_second": "superseded_per_s",
}
_SERVICE_DURATIONS = {
    "holdfast_service_queue_seconds": "queue_ms",
    "holdfast_service_latency_seconds": "latency_ms",
}
