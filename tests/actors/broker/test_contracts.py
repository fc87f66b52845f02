"""Replicas of one service must offer the same contract."""

from __future__ import annotations

from typing import Any

import pytest

from holdfast.actors.broker.effects import ToReplica
from holdfast.tests.actors.broker.conftest import Desk, Sent, offering
from holdfast.transport.bodies import Drain
from holdfast.transport.header import Kind


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("checkpoint", "others"),
        ("chunk_size", 60),
        ("action_names", ("y",)),
        ("state_names", ("y",)),
        ("fps", 60.0),
        ("model", "n"),
        ("contract", "5678"),
    ],
)
def test_a_replica_of_another_contract_is_rejected_with_the_difference(
    desk: Desk, sent: Sent, field: str, value: Any
) -> None:
    """It is accepted once the last of the others is gone."""
    other = {"contract": "1234", field: value}
    desk.register("flow/0:1", contract="1234")
    desk.opened("r1:1")
    effects = desk.replica("flow/1:1", offering("flow/1", **other), token=1)
    (refused,) = sent(effects, ToReplica, Kind.REJECT)
    assert (refused.identity, refused.robot) == (b"flow/1:1", "")
    assert refused.payload.reason == "contract" and refused.payload.final
    shown = "[y]" if value == ("y",) else str(value)
    assert shown in refused.payload.message and "flow/0" in refused.payload.message
    assert desk.routing.status(desk.now_ns)["replica_count"] == 1
    desk.wait(3)
    effects = desk.replica("flow/1:1", offering("flow/1", **other), token=2)
    assert sent(effects, ToReplica, Kind.WELCOME)


def test_the_next_incarnation_of_a_replica_may_bring_another_contract(
    desk: Desk, sent: Sent
) -> None:
    """As may one that registers while all others drain."""
    desk.register("flow/0:1")
    assert sent(desk.register("flow/0:2", checkpoint="b"), ToReplica, Kind.WELCOME)
    desk.replica("flow/0:2", Drain(reason="stopping"))
    assert sent(desk.register("flow/1:1", checkpoint="c"), ToReplica, Kind.WELCOME)
