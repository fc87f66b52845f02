"""The registration of a replica with its broker."""

from __future__ import annotations

from holdfast.actors.runtime.actor import EXIT_REFUSED
from holdfast.actors.runtime.link_messages import ExitReason
from holdfast.tests.actors.inference.broker_side import BrokerSide
from holdfast.tests.actors.inference.replica_thread import StartReplica
from holdfast.tests.actors.inference.robot_side import RobotSide, example
from holdfast.transport.bodies import Reject, Welcome
from holdfast.transport.header import Header, Kind
from holdfast.transport.messages import encode


def welcome_and_open(broker: BrokerSide) -> int:
    """Welcome the replica, and open a session of r1; the token of the registration."""
    token = broker.welcome().header.token
    broker.send("r1", RobotSide("r1").open())
    broker.receive(Kind.ACCEPT)
    return token


def test_a_replica_registers_until_it_is_welcomed_and_then_sends_heartbeats(
    replica: StartReplica, broker: BrokerSide
) -> None:
    """Registrations repeat one token, and the heartbeats' progress increases."""
    with replica():
        first = broker.receive(Kind.REGISTER)[1].header.token
        assert broker.receive(Kind.REGISTER)[1].header.token == first, (
            "the same registration, repeated"
        )
        broker.welcome()
        beats = [broker.receive(Kind.HEARTBEAT)[1].body.progress for _ in range(4)]
        assert beats == sorted(set(beats)), "each heartbeat reports progress of the loop"


def test_a_replica_registers_again_with_a_broker_that_does_not_know_it(
    replica: StartReplica,
    broker: BrokerSide,
) -> None:
    """The new registration has a new token, and sessions from before are void."""
    with replica():
        token = welcome_and_open(broker)
        broker.send("", encode(Header(Kind.WELCOME), Welcome(broker="b", heartbeat_s=0.5)))
        assert broker.welcome().header.token != token
        broker.send("r1", RobotSide("r1").request(example(1)))
        assert broker.receive(Kind.EVENT, Kind.REPLY)[1].body.what == "lost"


def test_a_replica_registers_with_a_restarted_broker(
    replica: StartReplica,
    endpoint: str,
) -> None:
    """A robot that reconnects through the new broker is served."""
    before = BrokerSide(endpoint)
    with replica():
        welcome_and_open(before)
        before.close()
        after = BrokerSide(endpoint)
        after.welcome()
        after.send("r1", RobotSide("r1").open(epoch=2))
        after.receive(Kind.ACCEPT)
        after.send("r1", RobotSide("r1").request(example(1), epoch=2))
        assert after.receive(Kind.REPLY, Kind.EVENT)[1].header.kind is Kind.REPLY
        after.close()


def test_a_replica_that_the_broker_refuses_ends_with_the_brokers_reason(
    replica: StartReplica, broker: BrokerSide
) -> None:
    """The exit code is that of a refusal, which is not restarted."""
    with replica() as it:
        token = broker.receive(Kind.REGISTER)[1].header.token
        refusal = Reject(reason="contract", message="weights a instead of b", final=True)
        broker.send("", encode(Header(Kind.REJECT, token=token), refusal))
        assert it.end() == EXIT_REFUSED
        [reason] = [m for m in it.supervisor.messages()[0] if isinstance(m, ExitReason)]
        assert "weights a instead of b" in reason.reason


def test_a_late_answer_to_an_earlier_registration_has_no_effect(
    replica: StartReplica,
    broker: BrokerSide,
) -> None:
    """A WELCOME with another token causes no new registration."""
    with replica():
        token = welcome_and_open(broker)
        for late in (token - 5, token, token + 7):
            broker.send("", encode(Header(Kind.WELCOME, token=late), Welcome(broker="b")))
        broker.send("r1", RobotSide("r1").request(example(1)))
        assert broker.receive(Kind.REPLY, Kind.EVENT, Kind.REGISTER)[1].header.kind is Kind.REPLY
