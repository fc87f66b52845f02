"""The broker on real sockets, in this process: what it passes on, drops and refuses."""

from __future__ import annotations

import os
import random
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import zmq

from holdfast.actors.broker.broker import BrokerActor
from holdfast.actors.broker.listener import Listener
from holdfast.actors.runtime.actor import EXIT_REFUSED, EXIT_STOPPED, boot_in_memory
from holdfast.actors.runtime.supervisor_link import ExitReason
from holdfast.errors import WireError
from holdfast.tests.actors.broker.conftest import (
    PATIENCE_S,
    PATIENT,
    LiveBroker,
    WatchedContext,
    Wire,
    asking,
    offering,
)
from holdfast.tests.waiting import wait_until
from holdfast.transport import keys, messages, sockets
from holdfast.transport.bodies import Close, Drain, Error, Heartbeat, Open
from holdfast.transport.header import Header, Kind
from holdfast.transport.keys import Role
from holdfast.transport.limits import DEFAULT

Start = Callable[..., LiveBroker]


def site(broker: LiveBroker, robots: int = 1, capacity: int = 4) -> tuple[Any, list[Any]]:
    """A replica and robots with open sessions at it."""
    replica = broker.replica("flow/0:1")
    replica.register(capacity)
    opened = [broker.robot(f"r{n}:1") for n in range(1, robots + 1)]
    for robot in opened:
        robot.open(replica)
    return replica, opened


def test_a_request_and_its_reply_pass_byte_for_byte(broker: LiveBroker) -> None:
    """The broker neither parses nor changes their bodies and blobs."""
    replica, (robot,) = site(broker)
    robot.ask(seq=1, nbytes=400_000)
    name, asked, frames = replica.get(Kind.REQUEST)
    assert name == "r1"
    assert asked.header.seq == 1
    assert len(frames[2]) == 400_000
    answer = [asked.header._replace(kind=Kind.REPLY).pack(), b"\x80", os.urandom(100), b""]
    replica.raw([b"r1", *answer])
    assert robot.socket.poll(2000)
    received = robot.socket.recv_multipart()
    while Header.unpack(received[0]).kind is not Kind.REPLY:
        received = robot.socket.recv_multipart()
    assert received == answer, "the broker neither parses nor changes a body"


def test_heartbeats_are_answered_with_and_without_a_session(broker: LiveBroker) -> None:
    """The answer echoes the token, for robots and replicas."""
    robot = broker.robot("r1:1")
    robot.say(Heartbeat(progress=1), token=77)
    assert robot.get(Kind.HEARTBEAT)[1].header.token == 77
    replica = broker.replica("flow/0:1")
    replica.register()
    replica.say(Heartbeat(progress=1), token=78)
    tokens = {replica.get(Kind.HEARTBEAT)[1].header.token for _ in range(2)}
    assert 78 in tokens


def test_the_status_has_a_row_for_each_session_and_replica(broker: LiveBroker) -> None:
    """The rows name robot, replica and load, and requests are counted."""
    replica, (robot,) = site(broker)
    robot.ask(seq=1)
    replica.answer()
    robot.get(Kind.REPLY)
    status = broker.until(lambda status: status.get("replies") and status)
    assert status["sessions"][0]["robot"] == "r1"
    assert status["sessions"][0]["replica"] == "flow/0"
    assert status["replicas"][0]["sessions"] == 1
    assert status["replicas"][0]["progress_age_s"] < 2
    assert status["requests"] == 1


def test_counters_survive_a_restart_and_sessions_do_not(broker: LiveBroker) -> None:
    """Its robots learn that they have no session, its replicas that they are not registered."""
    replica, (robot,) = site(broker)
    robot.ask(seq=1)
    replica.answer()
    robot.get(Kind.REPLY)
    broker.supervisor.command("stop")
    assert robot.get(Kind.EVENT)[1].body.what == "lost", "the broker notifies its robots"
    broker.stop()
    assert broker.code == EXIT_STOPPED
    broker.start()
    robot.ask(seq=2)
    lost = robot.get(Kind.EVENT)[1]
    assert (lost.body.what, lost.header.epoch) == ("lost", 1)
    replica.beat()
    welcome = replica.get(Kind.WELCOME)[1]
    assert welcome.header.token == 0
    assert welcome.body.broker == "broker:2"
    replica.register()
    robot.open(replica, epoch=2)
    assert broker.until(lambda status: status["counters"].get("replies")) == 1


def test_a_replica_whose_socket_is_closed_is_replaced_at_once(
    broker: LiveBroker,
) -> None:
    """Its request is replayed long before its silence would be noticed."""
    replica, (robot,) = site(broker)
    other = broker.replica("flow/1:1")
    other.register()
    robot.ask(seq=1)
    replica.get(Kind.REQUEST)
    replica.socket.close(linger=0)
    assert PATIENT["replica_lost_after_s"] > PATIENCE_S
    assert other.accept() == "r1"
    other.answer()
    robot.get(Kind.REPLY)
    event = robot.get(Kind.EVENT)[1]
    assert (event.body.what, event.header.seq) == ("replayed", 1)
    assert "ACCEPT" not in robot.kinds()


def test_a_draining_replica_gets_a_drain_when_nothing_is_left(broker: LiveBroker) -> None:
    """Its session moves once the request is answered, and goes on at the other."""
    replica, (robot,) = site(broker)
    other = broker.replica("flow/1:1")
    other.register()
    robot.ask(seq=1)
    name, asked, _ = replica.get(Kind.REQUEST)
    replica.say(Drain())
    replica.say(Error(reason="observation"), name, seq=asked.header.seq, epoch=1)
    robot.get(Kind.ERROR)
    assert other.accept() == "r1"
    replica.get(Kind.CLOSE)
    replica.get(Kind.DRAIN)
    robot.ask(seq=2)
    other.answer()
    assert robot.get(Kind.REPLY)[1].header.seq == 2


def test_a_robot_that_stops_reading_delays_no_other(broker: LiveBroker) -> None:
    """Its replies are dropped and counted; the other's arrive as if it were alone."""
    replica, (quick,) = site(broker)
    slow = broker.robot("slow:1", hwm=1)
    slow.open(replica)
    payload = [b"\x80", bytes(300_000)]
    delays: dict[bool, list[float]] = {False: [], True: []}
    for seq in range(1, 120):
        crowded = seq % 2 == 0
        if crowded:
            slow.ask(seq=seq)
            _, asked, _ = replica.get(Kind.REQUEST)
            replica.raw([b"slow", asked.header._replace(kind=Kind.REPLY).pack(), *payload])
        quick.ask(seq=seq)
        began_s = time.monotonic()
        replica.answer()
        assert quick.get(Kind.REPLY)[1].header.seq == seq
        delays[crowded].append(time.monotonic() - began_s)
    counters = broker.until(lambda s: s["counters"].get("robot-full-reply") and s["counters"])
    assert counters["robot-full-reply"] > 10
    alone_s, crowded_s = (statistics.median(delays[crowded]) for crowded in (False, True))
    assert crowded_s < 5 * alone_s + 0.01, (alone_s, crowded_s)


def test_a_replica_that_stops_reading_delays_no_other(broker: LiveBroker) -> None:
    """Its robot's newest request waits at the broker, and no other behind it."""
    stuck, (robot,) = site(broker)
    for seq in range(1, 400):
        robot.ask(seq=seq, nbytes=100_000)
    other = broker.replica("act/0:1")
    other.register()
    robot2 = broker.robot("r2:1")
    robot2.say(
        Open(
            robot="r2",
            service="act",
            action_names=("x",),
            state_names=("x",),
            cameras={},
            fps=30.0,
        ),
        epoch=1,
    )
    other.accept()
    robot2.get(Kind.ACCEPT)
    for seq in range(1, 20):
        robot2.ask(seq=seq)
        other.answer()
        robot2.get(Kind.REPLY, patience_s=1.0)
    broker.until(lambda s: s["counters"].get("replica-full-request"))
    broker.until(lambda s: s["counters"].get("superseded"))
    last = 0
    while last != 399:
        last = stuck.get(Kind.REQUEST)[1].header.seq


HOSTILE = random.Random(7)


def hostile_messages() -> list[list[bytes]]:
    """Random bytes, mutated messages, wrong versions, huge counts, deep nesting, many frames."""
    good = messages.encode(Header(Kind.HEARTBEAT), Heartbeat(progress=1))
    frames = [bytes(frame) for frame in good]
    made = [[HOSTILE.randbytes(HOSTILE.randrange(80)) for _ in range(n % 5 + 1)] for n in range(40)]
    for n in range(60):
        mutated = bytearray(frames[0])
        mutated[HOSTILE.randrange(len(mutated))] = HOSTILE.randrange(256)
        made.append([bytes(mutated), HOSTILE.randbytes(n)])
    made.append([frames[0].replace(b"\x01", b"\x63", 1), frames[1]])
    for kind in Kind:
        header = Header(kind, epoch=1).pack()
        made += [
            [header],
            [header, b""],
            [header, b"\xdf\xff\xff\xff\xff"],
            [header, b"\x91" * 3000],
            [header, b"\x81\xa8progress\xcf" + b"\xff" * 8],
            [header, bytes(DEFAULT.max_body_bytes + 1)],
            [header, b"\x80", *[b""] * (DEFAULT.max_frames + 100)],
        ]
    return made


@pytest.mark.parametrize("side", ["robot", "replica"])
def test_hostile_frames_are_counted_and_survived(broker: LiveBroker, side: str) -> None:
    """From many identities, and from one that is quarantined; other peers are served as before."""
    replica, (robot,) = site(broker)
    for n, frames in enumerate(hostile_messages()):
        if n % 12 == 0:
            name = f"evil/{n}:1" if side == "replica" else f"evil{n}:1"
            peer = getattr(broker, side)(name)
        peer.raw(frames if n % 2 or side == "robot" else [b"r1", *frames])
    one = getattr(broker, side)("worst/0:1" if side == "replica" else "worst:1")
    for _ in range(60):
        one.raw([HOSTILE.randbytes(40), b"\xc1"])
    robot.ask(seq=1)
    replica.answer()
    robot.get(Kind.REPLY)
    counters = broker.until(lambda s: s["counters"].get("quarantined") and s["counters"])
    for reason in ("header", "version", "body", "frames", "body-bytes"):
        assert counters.get(reason), (reason, counters)
    worst = "worst/0" if side == "replica" else "worst"
    assert broker.until(lambda s: worst in s["quarantined"])


@pytest.mark.parametrize(
    ("kind", "answer"),
    [(Kind.OPEN, Kind.REJECT), (Kind.REQUEST, Kind.ERROR), (Kind.INQUIRY, Kind.VERDICT)],
)
def test_a_message_beyond_a_limit_is_answered_with_the_limit(
    broker: LiveBroker, kind: Kind, answer: Kind
) -> None:
    """Where its sender waits for an answer, which silence would let time out."""
    robot = broker.robot("r1:1")
    asked = Header(kind, seq=7, episode=2, epoch=3, token=5)
    robot.raw([asked.pack(), bytes(DEFAULT.max_body_bytes + 1)])
    _, message, _ = robot.get(answer)
    assert message.header == asked._replace(kind=answer)
    body = getattr(message.body, "reject", None) or message.body
    assert body.reason == "body-bytes" and str(DEFAULT.max_body_bytes + 1) in body.message
    robot.raw([asked._replace(seq=8).pack(), b"\x80", *[b""] * (DEFAULT.max_frames + 1)])
    _, message, _ = robot.get(answer)
    body = getattr(message.body, "reject", None) or message.body
    assert message.header.seq == 8
    assert body.reason == "frames" and str(DEFAULT.max_frames) in body.message
    assert not getattr(body, "final", False), "it may have been damaged on its way"


def test_a_peer_without_a_name_is_counted(broker: LiveBroker) -> None:
    """Its message is dropped with the reason `identity`."""
    socket = broker.context.socket(zmq.DEALER)
    socket.linger = 0
    socket.connect(broker.front)
    socket.send_multipart(messages.encode(Header(Kind.CLOSE), Close()))
    assert broker.until(lambda s: s["counters"].get("identity")) == 1


def test_an_identity_made_up_by_libzmq_is_refused() -> None:
    """It begins with a zero byte, and raises `identity`."""
    with pytest.raises(WireError, match="not a name"):
        sockets.peer(b"\x00abcd")


def test_a_broker_off_loopback_refuses_to_start_without_keys(tmp_path: Path) -> None:
    """The reason names the remedy, `insecure: true`."""
    config = {"front": "tcp://0.0.0.0:0", "back": "tcp://127.0.0.1:0"}
    boot, actor_link, supervisor = boot_in_memory("broker", "broker", config, rundir=tmp_path)
    assert BrokerActor(boot, actor_link).main() == EXIT_REFUSED
    (stopped,), _ = supervisor.messages()
    assert isinstance(stopped, ExitReason)
    assert "insecure: true" in stopped.reason
    actor_link.close()
    supervisor.close()


def test_an_insecure_broker_says_so_in_its_status(start_broker: Start) -> None:
    """The board's report has `insecure`."""
    broker = start_broker(front="tcp://0.0.0.0:*", insecure=True)
    assert broker.until(lambda s: s.get("insecure"))


def test_a_listener_serves_ipc_and_tcp_at_once(tmp_path: Path) -> None:
    """Peers of both kinds are heard and answered by the same socket."""
    context: Any = zmq.Context()
    own = f"ipc://{tmp_path}/front"
    listener = Listener(context, own, "tcp://localhost:*")
    tcp = listener.socket.getsockopt_string(zmq.LAST_ENDPOINT)
    assert tcp.startswith("tcp://127.0.0.1:")
    near, far = sockets.dealer(context, own, "near:1"), sockets.dealer(context, tcp, "far:1")
    for peer in (near, far):
        peer.send(b"hello")
        assert listener.socket.poll(5000)
        arrival = listener.receive()
        assert arrival is not None
        assert listener.send([arrival.identity, b"welcome"]) is None
        assert peer.poll(5000) and peer.recv() == b"welcome"
        peer.close()
    listener.close(linger_ms=0)
    context.destroy(linger=0)


def test_an_address_of_another_machine_is_refused_with_its_remedy(
    tmp_path: Path,
) -> None:
    """The error differs from that of an address in use."""
    context: Any = zmq.Context()
    with pytest.raises(RuntimeError, match="no such address: mend `hosts`"):
        Listener(context, f"ipc://{tmp_path}/front", "tcp://192.0.2.1:7447", insecure=True)
    context.destroy(linger=0)


def test_an_address_in_use_is_refused_with_its_remedy(broker: LiveBroker) -> None:
    """The error says that another fleet may run there."""
    context: Any = zmq.Context()
    first = Listener(context, "tcp://127.0.0.1:*")
    taken = first.socket.getsockopt_string(zmq.LAST_ENDPOINT)
    with pytest.raises(RuntimeError, match="another fleet may run here"):
        Listener(context, taken)
    first.close(linger_ms=0)
    context.destroy(linger=0)


# Keys


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
