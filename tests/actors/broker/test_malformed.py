"""What the broker does with messages that it cannot read, and senders without a name."""

from __future__ import annotations

import random

import pytest
import zmq

from holdfast.errors import WireError
from holdfast.tests.actors.broker.live_broker import (
    LiveBroker,
)
from holdfast.tests.actors.broker.live_sites import site
from holdfast.transport import messages, sockets
from holdfast.transport.bodies import Close, Heartbeat
from holdfast.transport.header import Header, Kind
from holdfast.transport.limits import DEFAULT

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
    reasons = {"quarantined", "header", "version", "body", "frames", "body-bytes"}
    broker.until(lambda s: reasons <= {name for name, count in s["counters"].items() if count})
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
