"""Peers with keys, at a broker on real sockets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import zmq

from holdfast.actors.broker.broker import BrokerActor
from holdfast.actors.runtime.actor import EXIT_REFUSED, boot_in_memory
from holdfast.tests.actors.broker.desk import asking, offering
from holdfast.tests.actors.broker.live_broker import (
    PATIENCE_S,
    WatchedContext,
    Wire,
)
from holdfast.tests.actors.broker.test_broker import Start
from holdfast.tests.waiting import wait_until
from holdfast.transport import keys, sockets
from holdfast.transport.header import Kind
from holdfast.transport.keys import Role


class Ring:
    """Keys for a broker and its peers, made in a directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.broker = keys.new("broker", Role.BROKER, directory)
        self.server = keys.load_public(directory / "broker.pub")
        self.config = {"key": str(directory / "broker.key"), "keyring": str(directory)}

    def of(self, name: str, role: Role) -> dict[str, Any]:
        """The keys that a peer connects with."""
        return {"key": keys.new(name, role, self.directory), "server": self.server}


@pytest.fixture
def ring(tmp_path: Path) -> Ring:
    return Ring(tmp_path)


def test_peers_with_keys_are_served(start_broker: Start, ring: Ring) -> None:
    """A handshake and a request pass through CURVE."""
    ours, theirs = ring.of("r1", Role.ROBOT), ring.of("flow/0", Role.REPLICA)
    broker = start_broker(**ring.config)
    replica = broker.replica("flow/0:1", **theirs)
    replica.register()
    robot = broker.robot("r1:1", **ours)
    robot.open(replica)
    robot.ask(seq=1)
    replica.answer()
    robot.get(Kind.REPLY)


def test_a_key_is_accepted_for_its_own_name_and_role_only(start_broker: Start, ring: Ring) -> None:
    """On either side, any other name or role gets no session and no place."""
    robot_key, replica_key = ring.of("r1", Role.ROBOT), ring.of("flow/0", Role.REPLICA)
    broker = start_broker(**ring.config)
    liars = [broker.robot("r2:1", **robot_key), broker.robot("flow/0:1", **replica_key)]
    for liar in liars:
        liar.is_replica = False
        liar.say(asking(liar.name), epoch=1)
    liars += [broker.replica("flow/1:1", **replica_key), broker.replica("r1:1", **robot_key)]
    for liar in liars[2:]:
        liar.is_replica = True
        liar.say(offering("flow/1"), token=1)
    broker.until(lambda s: s["counters"].get("identity") == 4)
    replica, robot = broker.replica("flow/0:1", **replica_key), broker.robot("r1:1", **robot_key)
    replica.register()
    robot.open(replica)
    status = broker.until(lambda s: s.get("sessions") and s)
    assert [row["robot"] for row in status["sessions"]] == ["r1"]
    assert [row["name"] for row in status["replicas"]] == ["flow/0"]
    for liar in liars[:2]:
        refused = liar.get(Kind.REJECT)[1].body
        assert (refused.reason, "key of" in refused.message) == ("identity", True), refused
    for liar in liars:
        liar.take()
        assert not liar.backlog, "it gets no answer"


def test_an_unknown_key_gets_no_connection_and_is_counted(
    start_broker: Start, ring: Ring, tmp_path: Path
) -> None:
    """Nor does a peer without a key, while a known peer is served."""
    replica_key, robot_key = ring.of("flow/0", Role.REPLICA), ring.of("r1", Role.ROBOT)
    broker = start_broker(**ring.config)
    unknown = keys.new("r1", Role.ROBOT, tmp_path / "elsewhere")
    for options in ({"key": unknown, "server": ring.server}, {}):
        context = WatchedContext()
        peer = Wire(context, broker.front, "r1:1", **options)
        assert wait_until(context.handshake, "the end of a handshake", PATIENCE_S) == "refused"
        assert not sockets.send(peer.socket, [b"hello"])
        context.destroy(linger=0)
    assert broker.until(lambda s: s.get("refused_keys", {}).get("unknown-key"))
    replica = broker.replica("flow/0:1", **replica_key)
    replica.register()
    broker.robot("r1:3", **robot_key).open(replica)


@pytest.mark.parametrize("missing", ["key", "keyring"])
def test_a_key_without_a_keyring_is_refused(ring: Ring, tmp_path: Path, missing: str) -> None:
    """The broker needs both, and refuses to start with one."""
    config = {"front": f"ipc://{tmp_path}/f", "back": f"ipc://{tmp_path}/b", **ring.config}
    del config[missing]
    boot, actor_link, supervisor = boot_in_memory("broker", "broker", config, rundir=tmp_path)
    assert BrokerActor(boot, actor_link).main() == EXIT_REFUSED
    actor_link.close()
    supervisor.close()


def test_a_revoked_key_ends_the_session_and_the_place_of_its_owner(
    start_broker: Start, ring: Ring
) -> None:
    """At once, although the connections stay open."""
    ours, theirs = ring.of("r1", Role.ROBOT), ring.of("flow/0", Role.REPLICA)
    others = ring.of("r2", Role.ROBOT)
    broker = start_broker(**ring.config)
    replica = broker.replica("flow/0:1", **theirs)
    replica.register()
    robot, other = broker.robot("r1:1", **ours), broker.robot("r2:1", **others)
    for each in (robot, other):
        each.open(replica)
    (ring.directory / "r1.pub").unlink()
    assert "revoked" in robot.get(Kind.EVENT)[1].body.message
    assert replica.get(Kind.CLOSE)[0] == "r1"
    robot.say(asking("r1"), epoch=2)
    assert broker.until(lambda s: s["counters"].get("revoked-key"))
    other.ask(seq=1)
    replica.answer()
    other.get(Kind.REPLY)
    robot.take()
    assert not robot.backlog, "it gets no answer"
    (ring.directory / "flow@0.pub").unlink()
    broker.until(lambda s: s["replica_count"] == 0)
    assert "lost" in other.get(Kind.EVENT)[1].body.what


def test_an_added_key_is_accepted_without_a_restart(
    start_broker: Start, ring: Ring, tmp_path: Path
) -> None:
    """Before, the status shows key and address; a damaged file affects no other."""
    theirs = ring.of("flow/0", Role.REPLICA)
    broker = start_broker(**ring.config)
    late = keys.new("r1", Role.ROBOT, tmp_path / "elsewhere")
    unknown = broker.robot("r1:1", key=late, server=ring.server)
    (shown,) = broker.until(lambda s: s.get("strangers"))
    assert shown["key"] == late.public.decode() and shown["times"] >= 1
    (ring.directory / "broken.pub").write_text("name r9\n")
    (tmp_path / "elsewhere" / "r1.pub").rename(ring.directory / "r1.pub")
    replica = broker.replica("flow/0:1", **theirs)
    replica.register()
    unknown.socket.close(linger=0)

    def connected() -> Wire | None:
        robot: Wire = broker.robot("r1:2", key=late, server=ring.server)
        if robot.socket.poll(500, zmq.POLLOUT):
            return robot
        robot.socket.close(linger=0)
        return None

    wait_until(connected, "a connection with the added key", PATIENCE_S).open(replica)
