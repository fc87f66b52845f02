"""Why a robot rests between two episodes, and what begins the next one, in its row."""

from __future__ import annotations

from typing import Any

import pytest

from holdfast.actors.supervision import report
from holdfast.actors.supervision.supervised import ActorRecord, ActorState
from holdfast.tests.actors.supervision.actor_facts import facts_of


def reason(control: dict[str, Any], recorder: dict[str, Any] | None) -> str:
    """That of a robot whose two actors report so."""
    reports = {"control": control, **({} if recorder is None else {"recorder": recorder})}
    facts = facts_of(reports)
    actors = {f"r1/{kind}": ActorRecord(ActorState.READY) for kind in reports}
    (row,) = report.status("cell", 1.0, facts, actors, ["r1"], now_s=1.0)["robots"]
    return str(row["reason"])


@pytest.mark.parametrize("state", ["PAUSED", "MANUAL"])
def test_a_robot_whose_strategy_waits_for_a_start_says_how_to_give_it(state: str) -> None:
    """`resume` or `take-over` would move it, and begin no episode."""
    said = reason({"state": state, "service": "pick"}, {"awaits": "start"})
    assert said == "`actorctl episode start r1` begins the next episode"


def test_a_robot_that_rests_for_a_time_or_for_good_says_so() -> None:
    """Its strategy goes on by itself, or has nothing left to do."""
    paused = {"state": "PAUSED", "service": "pick"}
    assert "after `reset_time_s`" in reason(paused, {"awaits": "time"})
    assert "has recorded all episodes" in reason(paused, {"awaits": "nothing"})


@pytest.mark.parametrize("recorder", [None, {"awaits": ""}])
def test_a_robot_that_a_person_paused_says_how_it_goes_on(recorder: dict[str, Any] | None) -> None:
    """The sentence names `resume`, and `take-over` where it has a teleoperator."""
    assert "actorctl resume r1" in reason({"state": "PAUSED", "service": "pick"}, recorder)
    assert "actorctl take-over r1" in reason({"state": "PAUSED", "service": ""}, recorder)
