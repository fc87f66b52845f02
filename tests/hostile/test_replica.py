"""A replica process behind a broker that passes everything on: it stays the same process, answers
or counts what it gets, does not grow, and serves a well-behaved robot."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import zmq

from holdfast.errors import WireError
from holdfast.tests.hostile.conftest import SPEC
from holdfast.tests.hostile.corpus import Corpus
from holdfast.tests.waiting import wait_until
from holdfast.transport import sockets
from holdfast.transport.bodies import Body, Heartbeat, Open, Request, Welcome
from holdfast.transport.header import Header, Kind
from holdfast.transport.messages import Blobs, Message, decode, encode

pytestmark = pytest.mark.timeout(600)
PROMPT_S = 60.0
GROWTH_MB = 150


class Site:
    """The broker's side of a replica's connection, and a well-behaved robot."""

    def __init__(self, replica: Any, context: sockets.Context, router: sockets.Socket) -> None:
        self.replica, self.context, self.router = replica, context, router
        self.seq = 0
        self.opening = Open(
            robot="good",
            service="pick",
            action_names=SPEC.action_names,
            state_names=SPEC.state_names,
            cameras={c.name: (c.width, c.height) for c in SPEC.cameras},
            fps=SPEC.fps,
            rtc=True,
        )
        self.robots: list[str] = []
        self.registrations = 0
        self.hear("", Kind.REGISTER)
        self.open("good", 1)

    def send(self, robot: str | bytes, frames: list[Any]) -> None:
        name = robot.encode() if isinstance(robot, str) else robot

        def sent() -> bool:
            if sockets.send(self.router, [self.identity, name, *frames]):
                return True
            self.listen()
            return False

        wait_until(sent, "the replica to take a message", PROMPT_S, every_s=0.001)

    def say(self, robot: str, header: Header, body: Body, blobs: Any = ()) -> None:
        self.send(robot, encode(header, body, blobs))

    def hear(self, robot: str, *kinds: Kind) -> Message[Any]:
        """The next message of one of `kinds` about `robot`; others are skipped."""
        deadline_s = time.monotonic() + 60
        while self.router.poll(max(0, int(1000 * (deadline_s - time.monotonic())))):
            frames = sockets.receive(self.router)
            assert frames is not None
            message = self._take(frames)
            if bytes(frames[1]).decode() == robot and message.header.kind in kinds:
                return message
        raise AssertionError(f"none of {kinds} about {robot!r}")

    def falls_silent(self) -> None:
        """Send nothing, as a process on a busy machine, until the replica has connected anew."""
        before = self.registrations

        def registered() -> bool:
            self.listen()
            return self.registrations > before

        wait_until(registered, "a new connection of the replica", every_s=0.05)

    def listen(self) -> None:
        """Receive what has arrived, so that the replica can always send."""
        while (frames := sockets.receive(self.router)) is not None:
            self._take(frames)

    def _take(self, frames: list[Any]) -> Message[Any]:
        """As a broker does: a replica that registers, also anew because this process was silent for
        seconds, gets a WELCOME, and its robots open again."""
        self.identity = bytes(frames[0])
        message = decode(frames[2:])
        if message.header.kind is Kind.REGISTER:
            self.registrations += 1
            welcome = Welcome(broker="b", heartbeat_s=0.5)
            self.send("", encode(message.header._replace(kind=Kind.WELCOME), welcome))
            for robot in self.robots:
                self._ask_to_open(robot, 1)
        return message

    def _ask_to_open(self, robot: str, epoch: int) -> None:
        opening = msgspec.structs.replace(self.opening, robot=robot)
        self.say(robot, Header(Kind.OPEN, epoch=epoch), opening)

    def open(self, robot: str, epoch: int) -> None:
        self._ask_to_open(robot, epoch)
        self.hear(robot, Kind.ACCEPT)
        self.robots.append(robot)

    def serves(self) -> None:
        """The well-behaved robot is answered by its own chunk, in time."""
        self.seq += 1
        blobs = Blobs()
        state = np.full(3, self.seq, np.float32)
        images = {c.name: np.zeros((c.height, c.width, 3), np.uint8) for c in SPEC.cameras}
        body = Request(
            state=blobs.array(state),
            images={name: blobs.image(image) for name, image in images.items()},
            slack_s=1.0,
        )
        began_s = time.monotonic()
        self.say("good", Header(Kind.REQUEST, seq=self.seq, epoch=1), body, blobs)
        answer = self.hear("good", Kind.REPLY, Kind.ERROR)
        assert time.monotonic() - began_s < PROMPT_S
        assert answer.header.kind is Kind.REPLY, answer.body
        assert answer.header.seq == self.seq
        assert (answer.array(answer.body.chunk) == state).all()


@pytest.fixture
def site(start_actor: Callable[..., Any], rundir: Path, still: Path) -> Iterator[Site]:
    context: sockets.Context = zmq.Context()
    router = sockets.router(context, sockets.ipc(rundir, "back"))
    config = {
        "service": "pick",
        "replica": 0,
        "brokers": [sockets.ipc(rundir, "back")],
        "policy": "constant",
        "checkpoint": str(still),
        "max_sessions": 64,
    }
    site = Site(start_actor("inference", "pick/0", config), context, router)
    for _ in range(10):
        site.serves()
    site.replica.mark()
    yield site
    site.serves()
    site.replica.check(GROWTH_MB)
    context.destroy(linger=0)


def test_a_replica_answers_or_counts_hostile_messages(site: Site) -> None:
    """From robots with and without a session, except for the broker's own WELCOME and DRAIN."""
    site.open("evil", 1)
    corpus = Corpus(seed=17)
    for n, frames in enumerate(corpus.messages(600)):
        if n == 300:
            site.falls_silent()
        match n % 4:
            case 0 if not _commands(frames):
                site.send("", frames)
            case 1:
                site.send(f"unknown{n}", frames)
            case 2:
                site.send("evil", frames)
            case _:
                site.send(corpus.chance.randbytes(12), frames)
        site.listen()
        if n % 60 == 0:
            site.serves()
    site.serves()
    counts = site.replica.until(lambda s: s["counts"].get("served", 0) >= site.seq and s["counts"])
    for reason in ("header", "version", "kind", "frames", "robot"):
        assert counts.get(f"dropped:{reason}"), (reason, counts)


def test_a_request_with_a_false_image_fails_alone(site: Site) -> None:
    """JPEG bombs, endless scans and false references get an ERROR each."""
    site.open("evil", 1)
    refused = 0
    for seq, frames in enumerate(Corpus(seed=2).false_images(), start=1):
        header = Header.unpack(frames[0])._replace(seq=seq, epoch=1, kind=Kind.REQUEST)
        try:
            told = decode([header.pack(), *frames[1:]])
        except WireError:
            continue
        state = Blobs(told.blobs)
        body = msgspec.structs.replace(
            told.body, state=state.array(np.zeros(3, np.float32)), prefix=None, prefix_robot=None
        )
        site.say("evil", header, body, state)
        answer = site.hear("evil", Kind.REPLY, Kind.ERROR)
        assert answer.header.seq == seq
        if told.body.images["overhead"].width != 2048:  # that one is only large
            assert answer.header.kind is Kind.ERROR
            refused += 1
        site.serves()
    assert refused >= 5, "most of the corpus's images are well-formed messages"


def test_a_flood_of_sessions_and_requests_starves_no_other_robot(site: Site) -> None:
    """Sessions stay below `max_sessions`, and one request waits per robot at most."""
    for n in range(200):
        header = Header(Kind.OPEN, epoch=1)
        robot = f"crowd{n}"
        site.say(robot, header, msgspec.structs.replace(site.opening, robot=robot))
        site.listen()
    blobs = Blobs()
    body = Request(state=blobs.array(np.zeros(3, np.float32)))
    for seq in range(2000):
        site.say("crowd1", Header(Kind.REQUEST, seq=seq + 1, epoch=1), body, blobs)
        site.listen()
        if seq % 200 == 0:
            site.serves()
    assert len(site.replica.status()["sessions"]) <= 64


def test_a_replica_survives_a_broker_that_does_not_read(site: Site) -> None:
    """What it cannot send is bounded, and it goes on when it is read again."""
    for n in range(1500):
        site.send(
            f"unknown{n}",
            encode(
                Header(Kind.REQUEST, epoch=3), Request(state=Blobs().array(np.zeros(3, np.float32)))
            ),
        )
        if n == 700:
            turns = site.replica.board.progress()[0]
    site.replica.until(lambda _: site.replica.board.progress()[0] > turns)
    site.listen()
    site.say("good", Header(Kind.HEARTBEAT), Heartbeat(progress=1))


def _commands(frames: list[bytes]) -> bool:
    try:
        return Header.unpack(frames[0]).kind in (Kind.WELCOME, Kind.DRAIN)
    except (WireError, IndexError):
        return False
