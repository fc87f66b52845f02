"""The history that pages get: every change once, within bounds."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.actors.control.histogram import Histogram
from holdfast.actors.gateway.events import between
from holdfast.actors.gateway.metrics import ROBOT_STATES
from holdfast.actors.gateway.status_history import (
    KEEP_S,
    MAX_EVENTS,
    MAX_SAMPLES,
    StatusHistory,
    sample,
)
from holdfast.actors.supervision.supervised import ActorState

names = st.sampled_from(["broker", "pick/0", "r1/control", "r1/network"])
robot_names = st.sampled_from(["r1", "r2"])


def actor(name: str, state: str = "READY", incarnation: int = 1, **more: Any) -> dict[str, Any]:
    kind = name.rpartition("/")[2] if name.startswith("r") else name.partition("/")[0]
    row = {"name": name, "kind": kind, "state": state, "incarnation": incarnation, "report": {}}
    return row | more


def robot(name: str, state: str = "STREAMING", **more: Any) -> dict[str, Any]:
    return {
        "name": name,
        "state": state,
        "missed_ticks": 0,
        "stale_dropped": 0,
        "plan_s": 1.0,
        "request_latency_ms": {"p50": None, "p99": None},
        **more,
    }


def report(*parts: dict[str, Any], healthy: bool = True) -> dict[str, Any]:
    actors = [part for part in parts if "incarnation" in part]
    robots = [part for part in parts if "incarnation" not in part]
    return {"fleet": "cell", "healthy": healthy, "actors": actors, "robots": robots}


reports = st.builds(
    lambda actors, robots, healthy: report(
        *(actor(name, state, incarnation) for name, (state, incarnation) in actors.items()),
        *(robot(name, state) for name, state in robots.items()),
        healthy=healthy,
    ),
    st.dictionaries(
        names, st.tuples(st.sampled_from([s.value for s in ActorState]), st.integers(0, 3))
    ),
    st.dictionaries(robot_names, st.sampled_from(ROBOT_STATES)),
    st.booleans(),
)


@given(reports, reports)
def test_each_difference_of_two_reports_is_one_event(
    old: dict[str, Any], new: dict[str, Any]
) -> None:
    """States, incarnations and health; equal reports give no event."""

    def facts(body: dict[str, Any]) -> dict[str, tuple[Any, ...]]:
        of_actors = {a["name"]: (a["state"], a["incarnation"]) for a in body["actors"]}
        # A robot that came or went did so with its actors, which are found of.
        both = {r["name"] for r in old["robots"]} & {r["name"] for r in new["robots"]}
        of_robots = {r["name"]: (r["state"],) for r in body["robots"] if r["name"] in both}
        return {**of_actors, **of_robots, "fleet": (body["healthy"],)}

    before, after = facts(old), facts(new)
    changed = {who for who in before | after if before.get(who) != after.get(who)}
    found = [who for who, _, _ in between(old, new)]
    assert sorted(found) == sorted(changed)


def test_the_first_report_causes_no_event() -> None:
    """There is nothing to compare it with."""
    assert not list(between(None, report(actor("broker", "FAILED"))))


def test_an_actor_that_died_and_is_back_is_an_event_with_the_reason() -> None:
    """The incarnations tell, though both reports say READY."""
    new = actor("broker", incarnation=2, last_exit="killed by SIGSEGV")
    found = list(between(report(actor("broker")), report(new)))
    assert found == [
        ("broker", "warning", "incarnation 1 ended (killed by SIGSEGV); 2 is READY"),
    ]


@pytest.mark.parametrize(
    ("before", "after", "level", "words"),
    [
        (actor("b"), actor("b", "FAILED", reason="refused"), "error", "READY → FAILED: refused"),
        (actor("b", "BACKOFF"), actor("b", "READY", reason="x"), "info", "BACKOFF → READY"),
        (actor("b", "WAITING", 0), actor("b", "STARTING"), "info", "started, STARTING"),
        (robot("r"), robot("r", "DEAD", reason="offline"), "error", "STREAMING → DEAD: offline"),
        (robot("r"), robot("r", missed_ticks=2), "warning", "missed 2 ticks"),
        (robot("r"), robot("r", stale_dropped=1), "warning", "dropped 1 action as too old"),
    ],
)
def test_an_event_has_its_level_and_the_reason(
    before: dict[str, Any], after: dict[str, Any], level: str, words: str
) -> None:
    """Reasons are added to warnings and errors only."""
    assert [event[1:] for event in between(report(before), report(after))] == [(level, words)]


@given(
    st.lists(
        st.tuples(st.floats(0.01, 30.0), st.one_of(st.none(), reports), st.booleans()), max_size=40
    )
)
def test_a_page_that_follows_and_one_that_paused_get_the_same_history(
    steps: list[tuple[float, dict[str, Any] | None, bool]],
) -> None:
    """Samples and events at any rate of fetching, and all within bounds."""
    history, now_s = StatusHistory(), 0.0
    last_s, last_event = float("-inf"), 0
    samples: dict[str, list[Any]] = {}
    events: list[Any] = []
    for pause_s, body, fetches in [*steps, (0.01, None, True)]:
        now_s += pause_s
        if body is None:
            history.miss("gone", now_s)
        else:
            history.see(copy.deepcopy(body), now_s)
        if fetches:
            message = history.since(now_s, last_s, last_event)
            for name, fresh in message["timelines"].items():
                samples.setdefault(name, []).extend(fresh)
            events += message["events"]
            last_s, last_event = history.reported_s, history.last_event
    fresh_page = history.since(now_s)
    assert [e.number for e in events][-len(fresh_page["events"]) :] == [
        e.number for e in fresh_page["events"]
    ]
    assert [e.number for e in events] == sorted({e.number for e in events})
    for name, timeline in fresh_page["timelines"].items():
        assert all(point.t >= history.reported_s - KEEP_S for point in timeline)
        assert samples.get(name, [])[-len(timeline) :] == timeline if timeline else True
    assert history.trouble == "gone"


def test_the_history_is_bounded_however_long_a_fleet_runs() -> None:
    """Events by number, samples by number and age; a robot that left is removed."""
    history = StatusHistory()
    for k in range(3000):
        history.see(report(actor("broker", incarnation=k), robot("r1")), k * 0.1)
    everything = history.since(300.0)
    assert len(everything["events"]) == MAX_EVENTS
    assert len(everything["timelines"]["r1"]) == MAX_SAMPLES
    for k in range(300, 600):
        history.see(report(robot("r1")), float(k))
    assert history.since(600.0)["timelines"]["r1"][0].t == 599 - KEEP_S, "at a slow rate, by age"
    history.see(report(actor("broker"), robot("r2")), 601.0)
    assert set(history.since(601.0)["timelines"]) == {"r2"}, "a robot that left is forgotten"


@given(st.lists(st.integers(0, 10**9)), st.lists(st.integers(0, 10**9), min_size=1))
def test_the_lateness_of_a_sample_is_the_edge_above_the_worst_new_tick(
    earlier: list[int], since: list[int]
) -> None:
    """At most twice the worst lateness since the report before."""
    histogram = Histogram()
    for late in earlier:
        histogram.record(late)
    before = robot("r1", tick_lateness_buckets_us=histogram.buckets_us())
    for late in since:
        histogram.record(late)
    after = robot("r1", tick_lateness_buckets_us=histogram.buckets_us())
    found = sample(before, after, 1.0).lateness_us
    assert found is not None
    worst_us = max(since) / 1000
    assert worst_us < found
    assert found <= max(16, 2 * worst_us), "the next doubling"


def test_a_sample_without_new_ticks_has_no_lateness() -> None:
    """Its lateness is None, not zero."""
    buckets = Histogram().buckets_us()
    same = robot("r1", tick_lateness_buckets_us=buckets)
    assert sample(same, same, 1.0).lateness_us is None
    assert sample(None, same, 1.0).lateness_us is None
    assert sample(robot("r1"), robot("r1"), 1.0).lateness_us is None
