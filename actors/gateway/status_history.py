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
    """Fed with every report that the supervisor gives, and with every failure to get one."""

    def __init__(self) -> None:
        self.report: dict[str, Any] | None = None
        self.at = float("-inf")
        """When the report came."""
        self.trouble: str | None = "the supervisor has not answered yet"
        """Why there is no newer report; None when the latest question was answered."""
        self.version = 0
        """Counts everything seen, so that a page knows whether it has it all."""
        self._events: deque[FleetEvent] = deque(maxlen=MAX_EVENTS)
        self._timelines: dict[str, deque[StatusSample]] = {}
        self._count = 0

    def see(self, report: dict[str, Any], now: float) -> None:
        """The supervisor answered."""
        if self.trouble is not None and self.report is not None:
            self._note("supervisor", "info", "answers again", now)
        for who, level, text in between(self.report, report):
            self._note(who, level, text, now)
        previous = {robot["name"]: robot for robot in self.report["robots"]} if self.report else {}
        for robot in report["robots"]:
            timeline = self._timelines.setdefault(robot["name"], deque(maxlen=MAX_SAMPLES))
            timeline.append(sample(previous.get(robot["name"]), robot, now))
        self._forget(report, now)
        self.report, self.at, self.trouble = report, now, None
        self.version += 1

    def miss(self, trouble: str, now: float) -> None:
        """The supervisor did not answer, and why."""
        if self.trouble is None:
            self._note("supervisor", "error", trouble, now)
        self.trouble = trouble
        self.version += 1

    def since(self, now: float, t: float = float("-inf"), event: int = 0) -> dict[str, Any]:
        """What a page needs that has all samples up to `t` and all events up to number `event`."""
        return {
            "t": now,
            "trouble": self.trouble,
            "report": self.report and _brief(self.report),
            "notes": [
                {"level": note.weight.name.lower(), "who": note.name, "text": note.text}
                for note in (notes(self.report) if self.report else ())
            ],
            "timelines": {
                name: [sample for sample in timeline if sample.t > t]
                for name, timeline in self._timelines.items()
            },
            "events": [one for one in self._events if one.number > event],
        }

    @property
    def last_event(self) -> int:
        return self._count

    def _note(self, who: str, level: Level, text: str, now: float) -> None:
        self._count += 1
        self._events.append(FleetEvent(self._count, now, who, level, text))

    def _forget(self, report: Report, now: float) -> None:
        names = {robot["name"] for robot in report["robots"]}
        for name in self._timelines.keys() - names:
            del self._timelines[name]
        for timeline in self._timelines.values():
            while timeline and timeline[0].t < now - KEEP_S:
                timeline.popleft()


def _brief(report: dict[str, Any]) -> dict[str, Any]:
    """`report` without what actors say of themselves: no page shows it, and it is most of it."""
    actors = [{k: v for k, v in actor.items() if k != "report"} for actor in report["actors"]]
    return {**report, "actors": actors}


def sample(before: Mapping[str, Any] | None, robot: Mapping[str, Any], now: float) -> StatusSample:
    """The point that `robot`'s report adds to its timeline."""
    return StatusSample(
        t=now,
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
