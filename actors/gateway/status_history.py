"""`StatusHistory`: the fleet's recent past as the gateway keeps it for pages that open.

Pure: reports and instants in, messages out. Bounded: `KEEP_S` of samples for each robot and the
latest `MAX_EVENTS` events, however long the fleet runs.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any

import msgspec

from ..supervision.notes import notes
from .events import FleetEvent, Level, Report, between

KEEP_S = 120.0
MAX_EVENTS = 200
MAX_SAMPLES = 600
"""For each robot: KEEP_S at the rate of a watched page, with room to spare."""


class StatusSample(msgspec.Struct, frozen=True, array_like=True):
    """One point of a robot's timeline; None where there is no figure yet. `t` is in seconds of the
    gateway's clock, `lateness_us` the worst percentile known of the time since the sample before.
    """

    t: float
    state: str
    plan_s: float | None
    latency_ms: float | None
    lateness_us: float | None


class StatusHistory:
    """Takes every report of the supervisor and every failure to get one."""

    def __init__(self) -> None:
        self.report: dict[str, Any] | None = None
        self.reported_s = float("-inf")
        """When the report came, by the gateway's clock."""
        self.trouble: str | None = "the supervisor has not answered yet"
        """Why there is no newer report; None if the latest request was answered."""
        self.version = 0
        """Counts reports and failures, so that a page knows whether it has all."""
        self._events: deque[FleetEvent] = deque(maxlen=MAX_EVENTS)
        self._timelines: dict[str, deque[StatusSample]] = {}
        self._count = 0

    def see(self, report: dict[str, Any], now_s: float) -> None:
        """The supervisor answered."""
        if self.trouble is not None and self.report is not None:
            self._note("supervisor", "info", "answers again", now_s)
        for who, level, text in between(self.report, report):
            self._note(who, level, text, now_s)
        previous = {robot["name"]: robot for robot in self.report["robots"]} if self.report else {}
        for robot in report["robots"]:
            timeline = self._timelines.setdefault(robot["name"], deque(maxlen=MAX_SAMPLES))
            timeline.append(sample(previous.get(robot["name"]), robot, now_s))
        self._forget(report, now_s)
        self.report, self.reported_s, self.trouble = report, now_s, None
        self.version += 1

    def miss(self, trouble: str, now_s: float) -> None:
        """The supervisor did not answer, and why."""
        if self.trouble is None:
            self._note("supervisor", "error", trouble, now_s)
        self.trouble = trouble
        self.version += 1

    def since(self, now_s: float, t_s: float = float("-inf"), event: int = 0) -> dict[str, Any]:
        """What a page lacks that has all samples to `t_s` and all events to number `event`."""
        return {
            "t": now_s,
            "trouble": self.trouble,
            "report": self.report and _brief(self.report),
            "notes": [
                {"level": note.weight.name.lower(), "who": note.name, "text": note.text}
                for note in (notes(self.report) if self.report else ())
            ],
            "timelines": {
                name: [sample for sample in timeline if sample.t > t_s]
                for name, timeline in self._timelines.items()
            },
            "events": [one for one in self._events if one.number > event],
        }

    @property
    def last_event(self) -> int:
        return self._count

    def _note(self, who: str, level: Level, text: str, now_s: float) -> None:
        self._count += 1
        self._events.append(FleetEvent(self._count, now_s, who, level, text))

    def _forget(self, report: Report, now_s: float) -> None:
        names = {robot["name"] for robot in report["robots"]}
        for name in self._timelines.keys() - names:
            del self._timelines[name]
        for timeline in self._timelines.values():
            while timeline and timeline[0].t < now_s - KEEP_S:
                timeline.popleft()


def _brief(report: dict[str, Any]) -> dict[str, Any]:
    """`report` without the reports of the actors: no page shows them, and they are most of it."""
    actors = [{k: v for k, v in actor.items() if k != "report"} for actor in report["actors"]]
    return {**report, "actors": actors}


def sample(
    before: Mapping[str, Any] | None, robot: Mapping[str, Any], now_s: float
) -> StatusSample:
    """The point that `robot`'s report adds to its timeline."""
    return StatusSample(
        t=now_s,
        state=robot["state"],
        plan_s=robot.get("plan_s"),
        latency_ms=(robot.get("request_latency_ms") or {}).get("p50"),
        lateness_us=_lateness(before, robot),
    )


def _lateness(before: Mapping[str, Any] | None, robot: Mapping[str, Any]) -> float | None:
    """The edge below which all ticks since the report before lie. Buckets are cumulative, so that
    it is the first of those that grew the most."""
    old = (before or {}).get("tick_lateness_buckets_us")
    new = robot.get("tick_lateness_buckets_us")
    if not old or not new or [edge for edge, _ in old] != [edge for edge, _ in new]:
        return None
    grown = [(edge, count - was) for (edge, count), (_, was) in zip(new, old, strict=True)]
    most = max(growth for _, growth in grown)
    return float(next(edge for edge, growth in grown if growth == most)) if most > 0 else None
