"""The fleet for Prometheus: the supervisor's newest report under the names of `metric_names.py`.

Read at every scrape from what the gateway knows already, so that a scrape costs the fleet nothing.
While the supervisor does not answer, only that is exported: old figures would look current.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType

from prometheus_client import CollectorRegistry
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    Metric,
)
from prometheus_client.exposition import choose_encoder

from ...transport.stop_bodies import STOPPED
from ..control.supply_state import SupplyState as RobotState
from ..supervision.report import DOWN
from ..supervision.supervised import ActorState
from .metric_names import FAMILIES
from .metric_points import Point, Report, quantiles, scaled
from .robot_info import robot_info
from .service_metrics import of_service
from .status_stream import StatusStream
from .tick_lateness import tick_lateness
from .uplink_metrics import of_link

ACTOR_STATES = tuple(state.value for state in ActorState)
ROBOT_STATES = (*(state.value for state in RobotState), "PAUSED", "MANUAL", DOWN, STOPPED)
GUEST_STATES = (*(state for state in ROBOT_STATES if state != DOWN), "OPEN", "MOVING")


class Exposition:
    """What `/metrics` answers."""

    def __init__(
        self,
        stream: StatusStream,
        clock: Callable[[], float] = time.monotonic,
        host: str | None = None,
        tags: Mapping[str, Mapping[str, str]] = MappingProxyType({}),
    ) -> None:
        """`host` is the fleet file's name of this machine; without one, its host name. `tags` are
        those of each robot of this host, by its name."""
        self._host = host or socket.gethostname()
        self.tags = tags
        self._stream = stream
        self._clock = clock
        self._registry = CollectorRegistry()
        self._registry.register(self)

    def render(self, accept: str) -> tuple[bytes, str]:
        """(body, content type) in the format that `accept` asks for: OpenMetrics or text."""
        encode, content_type = choose_encoder(accept)
        return encode(self._registry), content_type

    def collect(self) -> Iterator[Metric]:
        """Every family that has a value."""
        families: dict[str, GaugeMetricFamily | CounterMetricFamily] = {}
        for name, labels, value in self._points():
            if value is None:
                continue
            family = families.get(name)
            if family is None:
                spec = FAMILIES[name]
                make = CounterMetricFamily if spec.kind == "counter" else GaugeMetricFamily
                family = families[name] = make(name, spec.about, labels=spec.labels)
            family.add_metric(labels, value)
        yield from families.values()
        if self._report is not None:
            yield from tick_lateness(self._report["robots"])
            yield from robot_info(self.tags)

    def describe(self) -> Iterator[Metric]:
        """Nothing is asked at registration: there is no report yet."""
        return iter(())

    @property
    def _report(self) -> Report | None:
        history = self._stream.history
        return history.report if history.trouble is None else None

    def _points(self) -> Iterator[Point]:
        history, report = self._stream.history, self._report
        yield "holdfast_supervisor_up", (), float(report is not None)
        yield "holdfast_gateway_pages", (), self._stream.pages
        if report is None:
            return
        yield "holdfast_report_age_seconds", (), self._clock() - history.reported_s
        yield "holdfast_fleet_healthy", (), report["healthy"]
        yield "holdfast_fleet_uptime_seconds", (), report["uptime_s"]
        for actor in report["actors"]:
            yield from _actor(actor)
            yield from _REPORTS.get(actor["kind"], _nothing)(actor["name"], actor["report"] or {})
        for robot in report["robots"]:
            yield from _robot(robot)
        yield "holdfast_host_info", (self._host,), 1
        for broker in report["brokers"]:
            yield from _known_broker(broker)
        for robot in report["site"]["robots"]:
            yield from _guest(robot)
        for replica in report["site"]["replicas"]:
            yield from _guest_replica(replica)
        for actor in report["site"]["actors"]:
            yield from _guest_actor(actor)


def _known_broker(broker: Report) -> Iterator[Point]:
    address = broker["address"] or "here"
    yield "holdfast_known_broker_up", (address,), broker["state"] == "READY"
    yield "holdfast_known_broker_reachable_seconds", (address,), broker["reachable_s"]
    for user in broker["users"]:
        yield "holdfast_known_broker_user", (address, user), 1


def _actor(actor: Report) -> Iterator[Point]:
    labels = (actor["name"], actor["kind"])
    yield "holdfast_actor_up", labels, actor["state"] == ActorState.READY
    yield "holdfast_actor_restarts_total", labels, actor["restarts"]
    yield "holdfast_actor_uptime_seconds", labels, actor["uptime_s"]
    yield "holdfast_actor_progress_age_seconds", labels, actor["progress_age_s"]
    yield "holdfast_actor_memory_bytes", labels, scaled(actor["memory_mb"], 1e6)
    for state in ACTOR_STATES:
        yield "holdfast_actor_state", (actor["name"], state), actor["state"] == state


def _robot(robot: Report) -> Iterator[Point]:
    name = (robot["name"],)
    for state in ROBOT_STATES:
        yield "holdfast_robot_state", (*name, state), robot["state"] == state
    for cause, key in _MISSED.items():
        yield "holdfast_robot_missed_ticks_total", (*name, cause), robot.get(key)
    for metric, key in _ROBOT_COUNTERS.items():
        yield metric, name, robot.get(key)
    yield "holdfast_robot_plan_seconds", name, robot["plan_s"]
    yield "holdfast_robot_action_age_seconds", name, robot["action_age_s"]
    for metric, key in _ROBOT_REASONS.items():
        for reason, count in robot.get(key, {}).items():
            yield metric, (*name, reason), count
    yield from quantiles(
        "holdfast_robot_request_latency_seconds", name, robot["request_latency_ms"], 1e-3
    )
    yield from quantiles(
        "holdfast_robot_tick_lateness_recent_seconds", name, robot["tick_lateness_recent_us"], 1e-6
    )
    yield "holdfast_robot_refusing_seconds", name, robot["refusing_s"]
    stop = robot.get("estop")
    yield "holdfast_robot_emergency_stop", name, stop is not None
    yield "holdfast_robot_emergency_stop_unconfirmed", name, bool(stop and not stop["confirmed"])
    yield "holdfast_robot_warnings", name, len(robot["warnings"])
    yield from of_link("holdfast_robot", name, robot)


_MISSED = {
    "control": "missed_ticks",
    "machine": "missed_ticks_machine",
    "restart": "missed_ticks_restart",
}
_ROBOT_COUNTERS = {
    "holdfast_robot_ticks_total": "ticks",
    "holdfast_robot_requests_total": "requests",
    "holdfast_robot_chunks_merged_total": "merged",
    "holdfast_robot_stalled_ticks_total": "stalled_ticks",
    "holdfast_robot_fallback_ticks_total": "fallback_ticks",
    "holdfast_robot_stale_actions_dropped_total": "stale_dropped",
    "holdfast_robot_void_actions_dropped_total": "void_dropped",
    "holdfast_robot_driver_gaps_total": "driver_gaps",
    "holdfast_robot_sessions_total": "epoch",
    "holdfast_robot_episodes_total": "episodes",
    "holdfast_robot_successes_total": "successes",
}

_ROBOT_REASONS = {
    "holdfast_robot_dropped_total": "dropped",
    "holdfast_robot_refused_commands_total": "refused_commands",
}


def _guest(robot: Report) -> Iterator[Point]:
    labels = (robot["name"], robot["where"])
    for state in GUEST_STATES:
        yield "holdfast_site_robot_state", (*labels, state), robot["state"] == state
    yield "holdfast_site_robot_plan_seconds", labels, robot["plan_s"]
    yield "holdfast_site_robot_silent_seconds", labels, robot["silent_s"]
    yield "holdfast_site_robot_steps_per_second", labels, robot["fps"]
    for outcome, key in _STEPS.items():
        yield "holdfast_site_robot_steps_total", (*labels, outcome), robot[key]
    for reason, count in robot["dropped"].items():
        yield "holdfast_site_robot_dropped_total", (*labels, reason), count
    latency = robot["latency_ms"]
    yield from quantiles("holdfast_site_robot_request_latency_seconds", labels, latency, 1e-3)
    yield "holdfast_site_robot_emergency_stop", labels, robot["state"] == STOPPED
    yield "holdfast_site_robot_warnings", labels, len(robot["warnings"])
    yield from of_link("holdfast_site_robot", labels, robot)


_STEPS = {
    "taken": "steps",
    "missed": "missed_steps",
    "stalled": "stalled_steps",
    "refused": "refused",
}


def _guest_replica(replica: Report) -> Iterator[Point]:
    labels = (replica["name"], replica["where"], replica["service"])
    yield "holdfast_site_replica_load_ratio", labels, replica["load"]
    yield "holdfast_site_replica_sessions", labels, replica["sessions"]
    yield "holdfast_site_replica_sessions_limit", labels, replica["capacity"]
    yield "holdfast_site_replica_progress_age_seconds", labels, replica["progress_age_s"]


def _guest_actor(actor: Report) -> Iterator[Point]:
    labels = (actor["actor"], actor["where"], actor["kind"])
    yield "holdfast_site_actor_up", labels, actor["state"] == ActorState.READY
    yield "holdfast_site_actor_restarts_total", labels, actor["restarts"]
    yield "holdfast_site_actor_progress_age_seconds", labels, actor["progress_age_s"]
    yield "holdfast_site_actor_memory_bytes", labels, scaled(actor["memory_mb"], 1e6)


def _sensor(actor: str, report: Report) -> Iterator[Point]:
    yield "holdfast_camera_frames_total", (actor,), report.get("frames")
    age = scaled(report.get("frame_age_ms"), 1e-3)
    yield "holdfast_camera_frame_age_seconds", (actor,), age


def _recorder(actor: str, report: Report) -> Iterator[Point]:
    yield "holdfast_recorder_rows_total", (actor,), report.get("rows")
    yield "holdfast_recorder_episodes_saved_total", (actor,), report.get("saved")
    yield "holdfast_recorder_images_repeated_total", (actor,), report.get("repeated")
    yield "holdfast_recorder_dropped_total", (actor,), report.get("dropped")
    paused = bool(report.get("reason")) and report.get("state") != "recording"
    yield "holdfast_recorder_paused", (actor,), float(paused)


def _network(actor: str, report: Report) -> Iterator[Point]:
    yield "holdfast_network_sent_bytes_total", (actor,), report.get("bytes_out")
    yield "holdfast_network_received_bytes_total", (actor,), report.get("bytes_in")
    yield "holdfast_network_reconnects_total", (actor,), report.get("reconnects")


def _inference(actor: str, report: Report) -> Iterator[Point]:
    if not report.get("service"):
        return
    labels = (actor, report["service"])
    yield "holdfast_replica_load_ratio", labels, report["load"]
    yield "holdfast_replica_sessions", labels, len(report["sessions"])
    yield "holdfast_replica_sessions_limit", labels, report["max_sessions"]
    yield "holdfast_replica_queue", labels, report["queue"]
    yield from quantiles("holdfast_replica_inference_seconds", labels, report["inference_ms"], 1e-3)
    yield from quantiles("holdfast_replica_queue_seconds", labels, report["queue_ms"], 1e-3)
    for outcome, count in report["counts"].items():
        yield "holdfast_replica_requests_total", (*labels, outcome), count
    for size, count in report["batches"].items():
        yield "holdfast_replica_batches_total", (*labels, size), count


def _broker(_actor: str, report: Report) -> Iterator[Point]:
    yield "holdfast_broker_sessions", (), report.get("session_count")
    yield "holdfast_broker_replicas", (), report.get("replica_count")
    for event, count in report.get("counters", {}).items():
        yield "holdfast_broker_events_total", (event,), count
    for service in report.get("services", ()):
        yield from of_service(service)


def _witness(_actor: str, report: Report) -> Iterator[Point]:
    yield "holdfast_witness_ticks_total", (), report.get("ticks")
    yield "holdfast_witness_pauses_total", (), report.get("pauses")
    oversleep = report.get("oversleep_us", {})
    yield from quantiles("holdfast_witness_oversleep_seconds", (), oversleep, 1e-6)


def _nothing(_actor: str, _report: Report) -> Iterator[Point]:
    return iter(())


_REPORTS: dict[str, Callable[[str, Report], Iterator[Point]]] = {
    "sensor": _sensor,
    "recorder": _recorder,
    "network": _network,
    "inference": _inference,
    "broker": _broker,
    "witness": _witness,
}
