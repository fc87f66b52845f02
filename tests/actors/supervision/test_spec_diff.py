"""The difference between two fleets that `supervisor reload` shows."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from holdfast.actors.runtime.spec import ActorSpec, Member, Rules, SegmentUse
from holdfast.actors.supervision.spec_diff import differences


def actor(name: str, *segments: str, rules: Rules | None = None, **config: Any) -> ActorSpec:
    return ActorSpec(
        kind="control",
        member=Member(name, rules or Rules()),
        config=config,
        segments=tuple(SegmentUse(segment, 64) for segment in segments),
    )


def test_each_differing_value_is_named_by_its_path_at_any_depth() -> None:
    """Changed, removed and new keys of nested maps are listed with their values."""
    old = actor("a", fps=30, plan={"merge": "replace", "trim": "time"}, cameras={"x": {"w": 1}})
    new = actor("a", fps=30, plan={"merge": "append", "trim": "time"}, cameras={"y": {"w": 1}})
    assert differences([old], [new]).changed == {
        "a": [
            "plan.merge: 'replace' -> 'append'",
            "cameras.x is gone, was {'w': 1}",
            "cameras.y is new: {'w': 1}",
        ]
    }


def test_added_and_removed_segments_are_distinguished() -> None:
    """A segment in one list only is named as added or as removed."""
    old, new = actor("a", "one", "both"), actor("a", "both", "two")
    expected = ["without shared memory one", "with shared memory two"]
    assert differences([old], [new]).changed == {"a": expected}


def test_other_restart_rules_need_no_new_process() -> None:
    """An actor with other rules counts as the same; a new one as added."""
    difference = differences([actor("a")], [actor("a", rules=Rules(max_restarts=1)), actor("b")])
    assert (difference.added, difference.changed, difference.same) == (("b",), {}, ("a",))


def test_what_a_process_takes_over_while_it_runs_needs_no_new_one() -> None:
    """The keys that it names and the segments in their values; with another change it does."""

    def serving(*robots: str, **more: Any) -> ActorSpec:
        outboxes = {robot: f"{robot}/outbox" for robot in robots}
        made = actor("pick/0", "pick/0/board", *outboxes.values(), outboxes=outboxes, **more)
        return replace(made, reconfigurable=("outboxes",))

    difference = differences([serving("r1")], [serving("r1", "r2")])
    assert (difference.changed, difference.same) == ({}, ())
    assert difference.reconfigured == {
        "pick/0": ["outboxes.r2 is new: 'r2/outbox'", "with shared memory r2/outbox"]
    }
    difference = differences([serving("r1", "r2")], [serving("r1", device="cuda:1")])
    assert difference.reconfigured == {}
    assert difference.changed["pick/0"] == [
        "device is new: 'cuda:1'",
        "outboxes.r2 is gone, was 'r2/outbox'",
        "without shared memory r2/outbox",
    ]
    difference = differences([actor("pick/0", outboxes={})], [serving()])
    assert "pick/0" in difference.changed, "the process that runs may not know how to"
