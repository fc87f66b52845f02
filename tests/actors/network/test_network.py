"""The network actor between control and broker, which the test plays on real sockets."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import zmq

from holdfast.actors.network.network import NetworkActor
from holdfast.actors.runtime.actor import boot_in_memory
from holdfast.actors.runtime.status_board import StatusBoardReader
from holdfast.tests.waiting import wait_until
from holdfast.transport import bodies, messages, sockets
from holdfast.transport.arrays import Buffer
from holdfast.transport.bodies import Accept, Event, Heartbeat, Open, Reply, Request, Reset, Vitals
from holdfast.transport.frame_ring import FrameRing
from holdfast.transport.header import Header, Kind
from holdfast.transport.images import Pixels, resize
from holdfast.transport.messages import Blobs, Message
from holdfast.transport.outbox import Outbox, OutboxReader

SHAPE = (48, 64, 3)


class Bench:
    """A network actor in a thread, with the sockets and memory of its peers."""

    def __init__(self, rundir: Path, **options: object) -> None:
        self.context: sockets.Context = zmq.Context()
        self.front = sockets.router(self.context, sockets.ipc(rundir, "front"))
        config: dict[str, Any] = {
            "robot": "r1",
            "service": "pick",
            "control": sockets.ipc(rundir, "r1.network"),
            "broker": sockets.ipc(rundir, "front"),
            "cameras": {"top": {"segment": "r1/top", "width": 64, "height": 48}},
            "state_names": ["a", "b"],
            "action_names": ["a"],
            "outbox": "r1/outbox",
            "heartbeat_s": 0.05,
            "broker_lost_after_s": 0.4,
            **options,
        }
        segments = {"r1/top": FrameRing.size_for(SHAPE), "r1/outbox": Outbox.size_for(32 * 1024)}
        self.boot, self._link, self._supervisor = boot_in_memory(
            "network", "r1/network", config, segments, rundir=rundir
        )
        self.camera = FrameRing(self.boot.memory["r1/top"], SHAPE)
        self.control = sockets.dealer(self.context, config["control"], "r1/control:1")
        self.peer = b""
        self.codes: list[int] = []
        actor = NetworkActor(self.boot, self._link)
        self._thread = threading.Thread(target=lambda: self.codes.append(actor.main()), daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._supervisor.command("stop")
        self._thread.join(5)
        self._supervisor.close()
        self._link.close()
        self.context.destroy(linger=0)
        assert self.codes == [0]

    def status(self) -> dict[str, Any]:
        return StatusBoardReader(self.boot.memory["r1/network/board"]).report() or {}

    def dropped(self) -> dict[str, int]:
        """The counts of dropped messages by reason."""
        return dict(self.status().get("dropped", {}))

    def ask(self, header: Header, body: bodies.Body, blobs: Blobs | None = None) -> None:
        """Send as control; the connection may still be under way."""
        frames = messages.encode(header, body, blobs or ())
        wait_until(lambda: sockets.send(self.control, frames), "a connection to the actor", 5)

    def at_broker(self, kind: Kind) -> Message[Any]:
        """The next message of `kind` that reaches the broker."""
        while True:
            assert self.front.poll(5000), f"no {kind.name} reached the broker"
            self.peer, *frames = self.front.recv_multipart()
            message = messages.decode(frames)
            if message.header.kind is kind:
                return message

    def at_control(self, kind: Kind) -> Message[Any]:
        """The next message of `kind` that reaches control."""
        while True:
            assert self.control.poll(5000), f"no {kind.name} reached control"
            message = messages.decode(self.control.recv_multipart())
            if message.header.kind is kind:
                return message

    def answer(self, header: Header, body: bodies.Body) -> None:
        """Send as the broker."""
        assert sockets.send(self.front, [self.peer, *messages.encode(header, body)])

    def open(self, shm: bool, epoch: int = 1) -> Open:
        """Complete a handshake; return the OPEN that the broker got."""
        asked = Open(
            robot="r1",
            service="pick",
            action_names=("a",),
            state_names=("a", "b"),
            cameras={},
            fps=30,
        )
        self.ask(Header(Kind.OPEN, epoch=epoch), asked)
        opened = self.at_broker(Kind.OPEN).body
        accept = Accept(
            session="s",
            replica="pick/0",
            model="m",
            revision="1",
            checkpoint="c",
            chunk_size=8,
            fps=30,
            action_names=("a",),
            cameras={"top": (32, 24)},
            shm=shm,
        )
        self.answer(Header(Kind.ACCEPT, epoch=epoch), accept)
        self.at_control(Kind.ACCEPT)
        assert isinstance(opened, Open)
        return opened

    def request(self, epoch: int = 1, episode: int = 0) -> None:
        blobs = Blobs()
        body = Request(state=blobs.array(np.array([1, 2], np.float32)), task="go")
        self.ask(Header(Kind.REQUEST, 7, episode, epoch, token=42), body, blobs)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path)
    yield bench
    bench.close()


@pytest.fixture
def patient(tmp_path: Path) -> Iterator[Bench]:
    """A bench whose broker may be silent."""
    bench = Bench(tmp_path, broker_lost_after_s=60.0)
    yield bench
    bench.close()


def noise(seed: int = 0) -> Pixels:
    return np.random.default_rng(seed).integers(0, 256, SHAPE, dtype=np.uint8)


def test_an_open_leaves_with_the_cameras_and_the_offer_of_shared_memory(bench: Bench) -> None:
    """The broker gets them, which control does not know."""
    opened = bench.open(shm=True)
    assert opened.cameras == {"top": (64, 48)}
    assert opened.outbox_nonce == OutboxReader(bench.boot.memory["r1/outbox"]).nonce
    assert opened.boot_id


def test_on_one_host_a_request_carries_references_and_no_pixels(bench: Bench) -> None:
    """The referenced pixels are the ring's, resized as the replica would."""
    bench.open(shm=True)
    image = noise()
    bench.camera.put(image, time.monotonic_ns())
    bench.request()
    message = bench.at_broker(Kind.REQUEST)
    assert (message.header.seq, message.header.token) == (7, 42)
    assert len(message.blobs) == 1, "only the state travels"
    reader = OutboxReader(bench.boot.memory["r1/outbox"])
    pixels = message.image(message.body.images["top"], {reader.nonce: reader})
    assert np.array_equal(pixels, resize(image, 32, 24))
    assert message.body.frame_age_s["top"] < 1
    assert np.array_equal(message.array(message.body.state), [1, 2])


def test_between_hosts_a_request_carries_jpeg_at_the_policys_resolution(bench: Bench) -> None:
    """The image has the policy's size and RGB order."""
    bench.open(shm=False)
    smooth = np.full(SHAPE, (200, 40, 90), np.uint8)
    bench.camera.put(smooth, time.monotonic_ns())
    bench.request()
    message = bench.at_broker(Kind.REQUEST)
    assert message.body.images["top"].encoding == "jpeg"
    pixels = message.image(message.body.images["top"])
    assert pixels.shape == (24, 32, 3)
    assert np.abs(pixels.astype(int) - (200, 40, 90)).max() < 8, "channels are RGB at both ends"


def test_a_reply_has_the_age_of_the_oldest_image_when_control_asked(bench: Bench) -> None:
    """`oldest_input_age_s` counts from capture to the request's token; the rest is unchanged."""
    bench.open(shm=True)
    asked_ns = time.monotonic_ns()
    bench.camera.put(np.zeros(SHAPE, np.uint8), asked_ns - 300_000_000)
    blobs = Blobs()
    body = Request(state=blobs.array(np.array([1, 2], np.float32)), task="go")
    bench.ask(Header(Kind.REQUEST, 7, 0, 1, token=asked_ns), body, blobs)
    header = bench.at_broker(Kind.REQUEST).header
    blobs = Blobs()
    rows = np.zeros((8, 1), np.float32)
    reply = Reply(chunk_model=blobs.array(rows), chunk=blobs.array(rows + 1), load=0.5)
    frames = messages.encode(header._replace(kind=Kind.REPLY), reply, blobs)
    assert sockets.send(bench.front, [bench.peer, *frames])
    told = bench.at_control(Kind.REPLY)
    assert told.body.oldest_input_age_s == pytest.approx(0.3, abs=1e-6)
    assert told.body.load == 0.5 and (told.array(told.body.chunk) == 1).all()


def test_a_request_never_uses_a_frame_that_is_too_old(bench: Bench) -> None:
    """Control gets an ERROR with the camera and its age; the broker gets nothing."""
    bench.open(shm=True)
    bench.camera.put(noise(), time.monotonic_ns() - 2_000_000_000)
    bench.request()
    error = bench.at_control(Kind.ERROR)
    assert error.header.seq == 7
    assert error.body.reason == "stale-frame"
    assert "top is 20" in error.body.message
    assert "at most 500 ms" in error.body.message


@pytest.mark.parametrize("told", [True, False])
def test_a_request_never_uses_a_frame_from_before_its_episode(bench: Bench, told: bool) -> None:
    """Also when the RESET was lost: the first request carries the episode too."""
    bench.open(shm=True)
    bench.camera.put(noise(), time.monotonic_ns())
    bench.request()
    bench.at_broker(Kind.REQUEST)
    if told:
        bench.ask(Header(Kind.RESET, episode=1, epoch=1), Reset())
        bench.at_broker(Kind.RESET)
    bench.request(episode=1)
    assert "no frame of this episode" in bench.at_control(Kind.ERROR).body.message
    bench.camera.put(noise(1), time.monotonic_ns())
    bench.request(episode=1)
    assert bench.at_broker(Kind.REQUEST).header.episode == 1


def test_a_camera_whose_memory_is_damaged_refuses_the_request_and_ends_nothing(
    bench: Bench,
) -> None:
    """Requests succeed again once the ring is formatted anew."""
    bench.open(shm=True)
    memory = bench.boot.memory["r1/top"]
    memory[:8] = b"garbage!"
    bench.request()
    error = bench.at_control(Kind.ERROR)
    assert error.body.reason == "stale-frame" and "ring is damaged" in error.body.message
    memory[:8] = bytes(8)
    FrameRing(memory, SHAPE).put(np.zeros(SHAPE, np.uint8), time.monotonic_ns())
    bench.request()
    bench.at_broker(Kind.REQUEST)


def test_a_camera_that_never_gave_a_frame_refuses_the_request(bench: Bench) -> None:
    """Control gets an ERROR that names the camera."""
    bench.open(shm=True)
    bench.request()
    assert "top has no frame" in bench.at_control(Kind.ERROR).body.message


def test_a_silent_broker_is_reported_to_control(bench: Bench) -> None:
    """Control gets an EVENT `lost` of the session's epoch after the bound."""
    bench.open(shm=True)
    event = bench.at_control(Kind.EVENT)
    assert event.header.epoch == 1
    assert event.body.what == "lost"
    assert "silent" in event.body.message


def test_heartbeats_of_the_broker_keep_the_session_open(bench: Bench) -> None:
    """For three times as long as silence would have ended it."""
    bench.open(shm=True)
    until_s = time.monotonic() + 1.2
    while time.monotonic() < until_s:
        beat = bench.at_broker(Kind.HEARTBEAT)
        bench.answer(beat.header, Heartbeat(progress=1))
    bench.camera.put(noise(), time.monotonic_ns())
    bench.request()
    bench.at_broker(Kind.REQUEST)


def test_vitals_of_control_are_sent_on_with_the_next_heartbeat(bench: Bench) -> None:
    """Without a session too, and only for as long as they are current."""
    said = Vitals(state="CONNECTING", reason="no replica serves 'pick'", dropped={"error": 2})
    bench.ask(Header(Kind.HEARTBEAT), Heartbeat(progress=1, vitals=said))
    while (beat := bench.at_broker(Kind.HEARTBEAT)).body.vitals is None:
        pass
    assert beat.body.vitals == said
    assert beat.header.epoch == 0
    while bench.at_broker(Kind.HEARTBEAT).body.vitals is not None:
        pass
    while bench.control.poll(0):
        heard = messages.decode(bench.control.recv_multipart()).header.kind
        assert heard is Kind.HEARTBEAT, "no session was claimed"


@pytest.mark.parametrize("last", ["STREAMING", "DEAD"])
def test_a_script_that_calls_nothing_is_shown_as_paused_unless_it_is_dead(
    tmp_path: Path, last: str
) -> None:
    """A pause between two episodes is no fault; DEAD stays."""
    said = Vitals(state=last, reason="why", fps=30.0, plan_s=0.5)
    with closing(Bench(tmp_path, script=True)) as bench:
        bench.ask(Header(Kind.HEARTBEAT), Heartbeat(progress=1, vitals=said))
        began_s = time.monotonic()
        while (found := bench.at_broker(Kind.HEARTBEAT).body.vitals) in (None, said):
            if last == "DEAD" and time.monotonic() - began_s > 2.5:
                break
    if last == "DEAD":
        assert found == said
    else:
        assert (found.state, found.fps, found.plan_s) == ("PAUSED", 0.0, 0.5)
        assert "has not called act for 2 s" in found.reason


def test_an_open_says_where_the_robot_runs(bench: Bench) -> None:
    """The broker gets host, pid and kind."""
    opened = bench.open(shm=True)
    assert (opened.host, opened.pid, opened.kind) == (socket.gethostname(), os.getpid(), "fleet")


def test_a_network_actor_without_a_session_says_so_at_once(bench: Bench) -> None:
    """After its restart control gets an EVENT `lost` instead of silence."""
    bench.request(epoch=3)
    event = bench.at_control(Kind.EVENT)
    assert (event.header.epoch, event.body.what) == (3, "lost")


def test_a_session_lost_at_the_broker_is_reported_to_control_and_ends(bench: Bench) -> None:
    """A later request is answered by another EVENT `lost`."""
    bench.open(shm=True)
    bench.answer(Header(Kind.EVENT, epoch=1), Event(what="lost", message="unknown session"))
    assert bench.at_control(Kind.EVENT).body.message == "unknown session"
    bench.request()
    assert "holds no session" in bench.at_control(Kind.EVENT).body.message


def test_garbage_from_either_side_is_counted_and_survived(bench: Bench) -> None:
    """Requests pass afterwards as before."""
    bench.open(shm=True)
    for junk in ([b"x"], [b"\0" * 32, b"\xc1"], [b"HFST" + b"\xff" * 28, b"", b""]):
        bench.control.send_multipart(junk)
        bench.front.send_multipart([bench.peer, *junk])
    bench.camera.put(noise(), time.monotonic_ns())
    bench.request()
    bench.at_broker(Kind.REQUEST)


def asking(epoch: int) -> list[Buffer]:
    body = Open(
        robot="r1",
        service="pick",
        action_names=("a",),
        state_names=("a", "b"),
        cameras={},
        fps=30,
    )
    return messages.encode(Header(Kind.OPEN, epoch=epoch), body)


@pytest.mark.parametrize(
    ("identity", "counted"),
    [
        ("r1/control:1x", {"identity"}),
        ("r2/control:9", {"identity"}),
        ("r1:9", {"identity"}),
        ("r1/control:2", {"epoch-jump"}),
        ("r1/control:1", set()),  # taken: a connection under it is not heard
    ],
)
def test_one_open_of_another_peer_does_not_end_the_robots_session(
    patient: Bench, identity: str, counted: set[str]
) -> None:
    """Neither under another name nor under control's own, with the highest epoch there is."""
    patient.open(shm=True, epoch=5)
    other = sockets.dealer(patient.context, patient.boot.config["control"], identity)
    assert other.poll(5000, zmq.POLLOUT)
    assert sockets.send(other, asking(2**32 - 1))
    wait_until(lambda: counted <= set(patient.dropped()), f"counts of {counted}", 5)
    patient.camera.put(noise(), time.monotonic_ns())
    patient.request(epoch=5)
    assert patient.at_broker(Kind.REQUEST).header.epoch == 5
    other.close()


def test_control_gets_in_after_another_claimed_the_session_and_fell_silent(patient: Bench) -> None:
    """A claim with the highest epoch holds the session only while it is heard of."""
    other = sockets.dealer(patient.context, patient.boot.config["control"], "r1/control:7")
    assert other.poll(5000, zmq.POLLOUT)
    assert sockets.send(other, asking(2**32 - 1))
    patient.at_broker(Kind.OPEN)
    other.close()

    def opened() -> bool:
        patient.ask(Header(Kind.OPEN, epoch=2), messages.decode(asking(2)).body)
        if not patient.front.poll(300):
            return False
        _, *frames = patient.front.recv_multipart()
        return messages.decode(frames).header[:4] == (Kind.OPEN, 0, 0, 2)

    wait_until(opened, "control's OPEN to reach the broker")
    refused = patient.at_control(Kind.REJECT)
    assert refused.body.reason == "stale-epoch" and not refused.body.final
    assert "4294967295" in refused.body.message


def test_control_learns_at_once_that_the_broker_is_unreachable(tmp_path: Path) -> None:
    """The REJECT names the address, and an EVENT says when the broker is there."""
    bench = Bench(tmp_path, broker=sockets.ipc(tmp_path, "elsewhere"), broker_lost_after_s=60.0)
    bench.ask(Header(Kind.OPEN, epoch=1), messages.decode(asking(1)).body)
    refused = bench.at_control(Kind.REJECT).body
    assert refused.reason == "unreachable" and not refused.final
    assert sockets.ipc(tmp_path, "elsewhere") in refused.message
    broker = sockets.router(bench.context, sockets.ipc(tmp_path, "elsewhere"))
    while (event := bench.at_control(Kind.EVENT).body).what != "available":
        assert event.what == "waiting" and "elsewhere" in event.message
    assert event.message == "pick"
    broker.close()
    while (event := bench.at_control(Kind.EVENT).body).what != "waiting":
        pass
    assert "nothing answers" in event.message
    bench.close()


def test_a_connection_that_leads_nowhere_is_replaced(bench: Bench) -> None:
    """An open connection that is silent for the bound is made anew."""
    bench.open(shm=True)
    bench.at_control(Kind.EVENT)
    wait_until(lambda: bench.status().get("reconnects"), "another connection")
    bench.open(shm=True, epoch=2)


def test_a_message_of_control_beyond_a_limit_is_answered_with_the_limit(patient: Bench) -> None:
    """A request by an ERROR, a handshake by a REJECT that is not final."""
    patient.open(shm=True)
    header, body = asking(2)
    bad_text = msgspec.msgpack.encode({**msgspec.msgpack.decode(body), "task": "x" * 3000})
    assert sockets.send(patient.control, [header, bad_text])
    refused = patient.at_control(Kind.REJECT)
    assert refused.header.epoch == 2 and not refused.body.final
    assert refused.body.reason == "body" and "2048" in refused.body.message
    state = {"dtype": "f4", "shape": [2], "blob": 0}
    long_task = msgspec.msgpack.encode({"state": state, "task": "x" * 3000})
    asked = Header(Kind.REQUEST, seq=9, epoch=1)
    assert sockets.send(patient.control, [asked.pack(), long_task, bytes(8)])
    error = patient.at_control(Kind.ERROR)
    assert error.header == asked._replace(kind=Kind.ERROR)
    assert "2048" in error.body.message
    patient.camera.put(noise(), time.monotonic_ns())
    patient.request()
    patient.at_broker(Kind.REQUEST)
