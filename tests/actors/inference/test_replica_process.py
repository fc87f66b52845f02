"""The inference actor in a process of its own, at a broker's socket."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path

from holdfast.actors.runtime.link_messages import ReadyMessage
from holdfast.actors.runtime.status_board import StatusBoardReader
from holdfast.policy.kinds import load_policy
from holdfast.tests.actors.inference.broker_side import BrokerSide
from holdfast.tests.actors.inference.replica_process import ReplicaProcess
from holdfast.tests.actors.inference.robot_side import RobotSide, example
from holdfast.tests.waiting import wait_until
from holdfast.transport.bodies import Drain
from holdfast.transport.header import Header, Kind
from holdfast.transport.messages import encode


def test_a_replica_process_serves_and_ends_on_sigterm(
    checkpoint: Path,
    broker: BrokerSide,
    endpoint: str,
    tmp_path: Path,
) -> None:
    """It makes progress at warm-up, reports a hang timeout, writes the audit, exits with 0."""
    config = {
        "service": "pick",
        "replica": 0,
        "brokers": [endpoint],
        "policy": "flow",
        "checkpoint": str(checkpoint),
        "heartbeat_s": 0.05,
        "capture_bytes": 1_000_000,
    }
    policy = load_policy("flow", checkpoint)
    with ReplicaProcess(config, tmp_path) as it:
        board = StatusBoardReader(it.board)
        registration = broker.welcome().body
        assert registration.pid == it.process.pid
        assert board.progress()[0] > 10, "warming up counts as progress"
        reported: list[object] = []

        def ready_message() -> ReadyMessage | None:
            reported.extend(it.link.messages()[0])
            return next((m for m in reported if isinstance(m, ReadyMessage)), None)

        ready = wait_until(ready_message, "the replica is ready")
        assert ready is not None and ready.hang_timeout_s == 3 * max(registration.batch_s) > 0
        broker.send("r1", RobotSide("r1").open(session=77))
        broker.receive(Kind.ACCEPT)
        broker.send("r1", RobotSide("r1").request(example(1)))
        _, reply = broker.receive(Kind.REPLY, Kind.ERROR)
        [expected] = policy.predict_chunk([example(1)])
        assert reply.array(reply.body.chunk).tobytes() == expected.robot.tobytes()
        it.process.send_signal(signal.SIGTERM)
        broker.receive(Kind.DRAIN)
        broker.send("", encode(Header(Kind.DRAIN), Drain(reason="drained")))
        released_s = time.monotonic()
        assert it.process.wait(60) == 0
        assert time.monotonic() - released_s < 20, "its successor waits for this"
    line = json.loads((tmp_path / "audit" / "pick.0.jsonl").read_text())
    assert (line["session"], line["seq"], line["outcome"]) == (77, 1, "served")


def test_the_last_status_of_a_killed_replica_stays_readable(
    checkpoint: Path, broker: BrokerSide, endpoint: str, tmp_path: Path
) -> None:
    """The board holds the report after SIGKILL."""
    config = {
        "service": "pick",
        "replica": 0,
        "brokers": [endpoint],
        "policy": "shape-only",
        "checkpoint": str(checkpoint),
    }
    with ReplicaProcess(config, tmp_path) as it:
        broker.welcome()
        board = StatusBoardReader(it.board)
        wait_until(lambda: (board.report() or {}).get("model") == "tiny", "a report")
        it.process.kill()
        it.process.wait(60)
        assert (board.report() or {})["mode"] == "shared"
