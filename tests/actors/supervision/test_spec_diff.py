"""The difference that `supervisor reload` shows before it makes it."""

from __future__ import annotations

from typing import Any

from holdfast.actors.runtime.spec import ActorSpec, Member, Rules, SegmentUse
from holdfast.actors.supervision.spec_diff import differences


def actor(name: str, *segments: str, rules: Rules | None = None, **config: Any) -> ActorSpec:
    return ActorSpec(
        kind="control",
        member=Member(name, rules or Rules()),
        config=config,
        segments=tuple(SegmentUse(segment, 64) for segment in segments),
    )


def test_each_value_that_differs_is_named_by_its_path_however_deep() -> None:
    old = actor("a", fps=30, plan={"merge": "replace", "trim": "time"}, cameras={"x": {"w": 1}})
    new = actor("a", fps=30, plan={"merge": "append", "trim": "time"}, cameras={"y": {"w": 1}})
    assert differences([old], [new]).changed == {
        "a": [
            "plan.merge: 'replace' -> 'append'",
            "cameras.x is gone, was {'w': 1}",
            "cameras.y is new: {'w': 1}",
        ]
    }


def test_segments_that_come_and_go_are_told_apart() -> None:
    old, new = actor("a", "one", "both"), actor("a", "both", "two")
    said = ["without shared memory one", "with shared memory two"]
    assert differences([old], [new]).changed == {"a": said}


def test_other_restart_rules_need_no_new_process() -> None:
    difference = differences([actor("a")], [actor("a", rules=Rules(max_restarts=1)), actor("b")])
    assert (difference.added, difference.changed, difference.same) == (("b",), {}, ("a",))
