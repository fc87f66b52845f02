"""Replicas of one service must offer the same contract."""

from __future__ import annotations

from typing import Any

import pytest

from holdfast.actors.broker.effects import ToReplica
from holdfast.actors.supervision.site import site
from holdfast.tests.actors.broker.desk import Desk, Sent, offering
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


def test_the_refusal_of_a_host_with_other_weights_names_both_hosts_and_is_in_the_status(
    desk: Desk, sent: Sent
) -> None:
    """On the broker's host, until a replica of that name serves."""
    desk.register("flow/0:1", host="gpu1")
    other = offering("flow/1", checkpoint="others", host="gpu2", kind="fleet")
    (refused,) = sent(desk.replica("flow/1:1", other, token=1), ToReplica, Kind.REJECT)
    assert "flow/1 on gpu2 offers weights others instead of weights" in refused.payload.message
    assert "as flow/0 on gpu1 serves it" in refused.payload.message

    def shown() -> dict[str, str]:
        report = desk.routing.status(desk.now_ns)
        rows = site([{"name": "broker", "kind": "broker", "report": report}], [])["replicas"]
        return {row["name"]: f"{row['where']} {row['state']}: {row['reason']}" for row in rows}

    assert shown()["flow/0"] == "gpu1 READY: "
    assert shown()["flow/1"].startswith("gpu2 REFUSED: flow/1 on gpu2 offers weights others")
    desk.register("flow/1:2", host="gpu2", kind="fleet")
    assert shown()["flow/1"] == "gpu2 READY: "


def test_the_next_incarnation_of_a_replica_may_bring_another_contract(
    desk: Desk, sent: Sent
) -> None:
    """As may one that registers while all others drain."""
    desk.register("flow/0:1")
    assert sent(desk.register("flow/0:2", checkpoint="b"), ToReplica, Kind.WELCOME)
    desk.replica("flow/0:2", Drain(reason="stopping"))
    assert sent(desk.register("flow/1:1", checkpoint="c"), ToReplica, Kind.WELCOME)
