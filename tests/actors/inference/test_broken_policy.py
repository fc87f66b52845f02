"""A policy of the user's own that fails for a while, or takes longer than at its warm-up."""

from __future__ import annotations

import dataclasses
import mmap
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from holdfast.actors.inference.policy_runner import DOUBTFUL_FAILURES
from holdfast.actors.inference.replica import HANG_BATCHES
from holdfast.actors.runtime.actor import EXIT_CRASHED, EXIT_REFUSED, boot_in_memory
from holdfast.actors.runtime.link_messages import ExitReason, ReadyMessage
from holdfast.tests.actors.inference.broker_side import BrokerSide
from holdfast.tests.actors.inference.replica_thread import Replica
from holdfast.tests.actors.inference.robot_side import RobotSide, example
from holdfast.tests.waiting import wait_until
from holdfast.transport.header import Kind
from holdfast.transport.messages import Message

POLICY = """
import time
from pathlib import Path
import numpy as np
from holdfast import Chunk
from holdfast.tests.actors.inference.robot_side import SPEC

class Fickle:
    spec = SPEC
    def predict_chunk(self, batch):
        mode = Path(__file__).with_name("mode").read_text()
        if mode == "raise":
            raise ValueError("policy broke")
        time.sleep(float(mode))
        actions = np.zeros((SPEC.chunk_size, 2), np.float32)
        return [Chunk(model=actions, robot=actions) for _ in batch]
"""


class Outage:
    """A replica of `Fickle`, incarnation after incarnation."""

    def __init__(self, folder: Path, endpoint: str, broker: BrokerSide) -> None:
        (folder / "fickle_policy.py").write_text(POLICY)
        self._folder, self._endpoint, self._broker = folder, endpoint, broker
        self._memory: Mapping[str, mmap.mmap] = {}
        self._incarnation = 0
        self.mode("0")

    def mode(self, mode: str) -> None:
        """From now on a call raises, or takes so many seconds."""
        (self._folder / "mode").write_text(mode)

    @contextmanager
    def replica(self, forgiven: bool = False, **config: Any) -> Iterator[Replica]:
        """The next incarnation."""
        self._incarnation += 1
        configured = {
            "service": "pick",
            "replica": 0,
            "brokers": [self._endpoint],
            "policy": "fickle_policy:Fickle",
            "import_path": str(self._folder),
            "heartbeat_s": 0.05,
            "max_batch": 1,
            **config,
        }
        boot, link, supervisor = boot_in_memory(
            "inference",
            "pick/0",
            configured,
            memory=self._memory,
            incarnation=self._incarnation,
            rundir=self._folder,
        )
        self._memory = boot.memory
        it = Replica(dataclasses.replace(boot, forgiven=forgiven), link, supervisor)
        it.thread.start()
        try:
            yield it
        finally:
            it.supervisor.close()
            it.end()
            it.link.close()

    def join(self) -> None:
        """Answer the registration, and open a session of r1."""
        self._broker.welcome()
        self._broker.send("r1", RobotSide("r1").open())
        self._broker.receive(Kind.ACCEPT)

    def ask(self, seq: int) -> Message[Any]:
        """The answer to a request of r1."""
        self.request(seq)
        return self._broker.receive(Kind.REPLY, Kind.ERROR)[1]

    def request(self, seq: int) -> None:
        """Send a request of r1."""
        self._broker.send("r1", RobotSide("r1").request(example(seq), seq=seq))

    def break_down(self) -> None:
        """An incarnation that serves, and ends because the policy fails at every request."""
        with self.replica() as it:
            self.join()
            self.mode("raise")
            for seq in range(1, DOUBTFUL_FAILURES):
                assert self.ask(seq).header.kind is Kind.ERROR
            self.request(DOUBTFUL_FAILURES)
            assert it.end() == EXIT_CRASHED
            assert "PolicyBrokenError: ValueError: policy broke" in reason_of(it)


@pytest.fixture
def outage(tmp_path: Path, endpoint: str, broker: BrokerSide) -> Iterator[Outage]:
    """A policy that serves at first."""
    yield Outage(tmp_path, endpoint, broker)
    sys.modules.pop("fickle_policy", None)
    if str(tmp_path) in sys.path:
        sys.path.remove(str(tmp_path))


def reason_of(it: Replica) -> str:
    [reason] = [m.reason for m in it.supervisor.messages()[0] if isinstance(m, ExitReason)]
    return reason


def test_a_replica_that_has_served_is_restarted_while_its_policy_fails(outage: Outage) -> None:
    """A warm-up that fails is a crash, not a refusal, and the robot is not to blame for it."""
    outage.break_down()
    for _ in range(2):
        with outage.replica() as it:
            assert it.end() == EXIT_CRASHED
            reason = reason_of(it)
            assert "ValueError: policy broke" in reason
            assert "has served with this configuration before" in reason
    outage.mode("0")
    with outage.replica():
        outage.join()
        assert outage.ask(1).header.kind is Kind.REPLY


@pytest.mark.parametrize(
    "earlier",
    [lambda outage: outage.mode("raise"), Outage.break_down],
    ids=["first-start", "changed-configuration"],
)
def test_a_policy_that_fails_before_it_has_served_is_refused(
    outage: Outage, earlier: Callable[[Outage], None]
) -> None:
    """At its first start, and at the first one with another configuration."""
    earlier(outage)
    with outage.replica(default_task="another") as it:
        assert it.end() == EXIT_REFUSED
        assert "ValueError: policy broke" in reason_of(it)


@pytest.mark.parametrize(("forgiven", "answered"), [(False, Kind.ERROR), (True, Kind.REPLY)])
def test_a_start_by_a_person_ends_the_rest_of_a_robot(
    outage: Outage, forgiven: bool, answered: Kind
) -> None:
    """Without it, the robot whose requests broke the policy rests after the restart."""
    outage.break_down()
    outage.mode("0")
    with outage.replica(forgiven=forgiven):
        outage.join()
        answer = outage.ask(1)
        assert answer.header.kind is answered
        if not forgiven:
            assert answer.body.reason == "resting"
            assert "ValueError: policy broke" in answer.body.message


def test_a_batch_that_takes_longer_than_measured_extends_the_hang_timeout(outage: Outage) -> None:
    """The replica asks its supervisor for HANG_BATCHES times its duration."""
    with outage.replica() as it:
        outage.join()
        asked: list[float] = []

        def asked_for(timeout_s: float) -> bool:
            messages = it.supervisor.messages()[0]
            asked.extend(m.hang_timeout_s for m in messages if isinstance(m, ReadyMessage))
            return bool(asked) and asked[-1] >= timeout_s

        wait_until(lambda: asked_for(0.0), "the replica is ready")
        takes_s = 0.3 + 2 * asked[0] / HANG_BATCHES
        outage.mode(str(takes_s))
        assert outage.ask(1).header.kind is Kind.REPLY
        wait_until(lambda: asked_for(HANG_BATCHES * takes_s), "the hang timeout is extended")
