"""The network actor between control and broker, which the test plays on real sockets."""

from __future__ import annotations

import os
import socket
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest
import zmq

from holdfast.tests.actors.network.network_bench import Bench, noise
from holdfast.tests.transport.packet_peers import WaitingClient
from holdfast.tests.waiting import wait_until
from holdfast.transport import messages, sockets
from holdfast.transport.arrays import Buffer
from holdfast.transport.bodies import Error, Event, Heartbeat, Open, Vitals
from holdfast.transport.header import Header, Kind
from holdfast.transport.outbox import OutboxReader


def test_an_open_leaves_with_the_cameras_and_the_offer_of_shared_memory(bench: Bench) -> None:
    """The broker gets them, which control does not know."""
    opened = bench.open(shm=True)
    assert opened.cameras == {"top": (64, 48)}
    assert opened.outbox_nonce == OutboxReader(bench.boot.memory["r1/outbox"]).nonce
    assert opened.boot_id


def test_a_silent_broker_is_reported_to_control(bench: Bench) -> None:
    """Control gets an EVENT `lost` of the session's epoch after the bound."""
    bench.open(shm=True)
    event = bench.at_control(Kind.EVENT)
    assert event.header.epoch == 1
    assert event.body.what == "lost"
    assert "silent" in event.body.message


def test_heartbeats_of_the_broker_keep_the_session_open(tmp_path: Path) -> None:
    """For longer than silence would have taken to end it."""
    with closing(Bench(tmp_path, broker_lost_after_s=1.5)) as bench:
        bench.open(shm=True)
        until_s = time.monotonic() + 2.0
        while time.monotonic() < until_s:
            beat = bench.at_broker(Kind.HEARTBEAT)
            bench.answer(beat.header, Heartbeat(progress=1))
        bench.camera.put(noise(), time.monotonic_ns())
        bench.request()
        bench.at_broker(Kind.REQUEST)


def without_link(vitals: Any) -> Any:
    """What control said, without what its network actor adds; None stays."""
    return vitals and msgspec.structs.replace(vitals, uplink={})


def test_vitals_of_control_are_sent_on_with_the_next_heartbeat(bench: Bench) -> None:
    """Without a session too, and only for as long as they are current."""
    said = Vitals(state="CONNECTING", reason="no replica serves 'pick'", dropped={"error": 2})
    bench.ask(Header(Kind.HEARTBEAT), Heartbeat(progress=1, vitals=said))
    while (beat := bench.at_broker(Kind.HEARTBEAT)).body.vitals is None:
        pass
    assert without_link(beat.body.vitals) == said
    assert beat.body.vitals.uplink["jpeg_quality"] == 90, "its link is added"
    assert beat.header.epoch == 0
    while bench.at_broker(Kind.HEARTBEAT).body.vitals is not None:
        pass
    while bench.control.poll(0):
        heard = messages.decode(bench.control.next()).header.kind
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
        while (found := without_link(bench.at_broker(Kind.HEARTBEAT).body.vitals)) in (None, said):
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


def test_a_session_lost_at_the_broker_is_reported_to_control_and_ends(patient: Bench) -> None:
    """A later request is answered by another EVENT `lost`."""
    patient.open(shm=True)
    patient.answer(Header(Kind.EVENT, epoch=1), Event(what="lost", message="unknown session"))
    assert patient.at_control(Kind.EVENT).body.message == "unknown session"
    patient.request()
    assert "holds no session" in patient.at_control(Kind.EVENT).body.message


def test_garbage_from_either_side_is_counted_and_survived(patient: Bench) -> None:
    """Requests pass afterwards as before."""
    patient.open(shm=True)
    for junk in ([b"x"], [b"\0" * 32, b"\xc1"], [b"HFST" + b"\xff" * 28, b"", b""]):
        assert patient.control.send(junk)
        patient.front.send_multipart([patient.peer, *junk])
    patient.camera.put(noise(), time.monotonic_ns())
    patient.request()
    patient.at_broker(Kind.REQUEST)


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
    other = WaitingClient(patient.boot.config["control"], identity)
    if counted:
        assert other.send(asking(2**32 - 1))
        wait_until(lambda: counted <= set(patient.dropped()), f"counts of {counted}")
    else:
        other.send(asking(2**32 - 1))  # the connection may be closed before
        assert other.poll(60_000) and other.receive() is None and not other.connected
    patient.camera.put(noise(), time.monotonic_ns())
    patient.request(epoch=5)
    assert patient.at_broker(Kind.REQUEST).header.epoch == 5
    other.close()


def test_messages_for_a_control_actor_that_has_ended_are_counted_as_such(patient: Bench) -> None:
    """And not as those of one that does not read."""
    patient.open(shm=True)
    patient.control.close()
    wait_until(lambda: patient.dropped().get("control-gone", 0) > 1, "messages for it")
    assert "control-full" not in patient.dropped()


def test_control_gets_in_after_another_claimed_the_session_and_fell_silent(patient: Bench) -> None:
    """A claim with the highest epoch holds the session only while it is heard of."""
    other = WaitingClient(patient.boot.config["control"], "r1/control:7")
    wait_until(lambda: other.send(asking(2**32 - 1)), "a connection to the actor")
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
    bench = Bench(tmp_path, brokers=[sockets.ipc(tmp_path, "elsewhere")], broker_lost_after_s=60.0)
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


def test_the_broker_is_asked_about_a_request_whose_connection_broke(patient: Bench) -> None:
    """By every heartbeat, also the first over the new one, until the answer to it is there."""
    patient.open(shm=True)
    assert patient.at_broker(Kind.HEARTBEAT).header.seq == 0
    patient.camera.put(noise(), time.monotonic_ns())
    patient.request(episode=3)
    asked = patient.at_broker(Kind.REQUEST).header
    assert patient.at_broker(Kind.HEARTBEAT).header[:4] == (Kind.HEARTBEAT, 7, 3, 1)
    address = patient.front.getsockopt_string(zmq.LAST_ENDPOINT)
    patient.front.close(linger=0)
    patient.front = sockets.router(patient.context, address)
    assert patient.at_broker(Kind.HEARTBEAT).header[:4] == (Kind.HEARTBEAT, 7, 3, 1)
    lost = Error(reason="connection-lost", message="")
    patient.answer(asked._replace(kind=Kind.ERROR), lost)
    assert patient.at_control(Kind.ERROR).body == lost
    wait_until(lambda: patient.at_broker(Kind.HEARTBEAT).header.seq == 0)


def test_a_connection_that_leads_nowhere_is_replaced(tmp_path: Path) -> None:
    """An open connection that is silent for the bound is made anew."""
    with closing(Bench(tmp_path, broker_lost_after_s=1.5)) as bench:
        bench.open(shm=True)
        bench.at_control(Kind.EVENT)
        wait_until(lambda: bench.status().get("reconnects"), "another connection")
        bench.open(shm=True, epoch=2)


def test_a_session_goes_on_by_a_connection_that_is_made_anew(patient: Bench) -> None:
    """A path that was gone for a while costs neither a handshake nor the session."""
    patient.open(shm=True)
    wait_until(lambda: patient.status().get("reconnects"), "another connection")
    beat = patient.at_broker(Kind.HEARTBEAT)
    patient.answer(beat.header, Heartbeat(progress=1))
    patient.camera.put(noise(), time.monotonic_ns())
    patient.request()
    asked = patient.at_broker(Kind.REQUEST)
    assert asked.header.epoch == 1
    patient.answer(asked.header._replace(kind=Kind.ERROR), Error(reason="policy", message=""))
    assert patient.at_control(Kind.ERROR).header.seq == 7
    assert patient.status()["session"] == "open"


def test_a_message_of_control_beyond_a_limit_is_answered_with_the_limit(patient: Bench) -> None:
    """A request by an ERROR, a handshake by a REJECT that is not final."""
    patient.open(shm=True)
    header, body = asking(2)
    bad_text = msgspec.msgpack.encode({**msgspec.msgpack.decode(body), "task": "x" * 3000})
    assert patient.control.send([header, bad_text])
    refused = patient.at_control(Kind.REJECT)
    assert refused.header.epoch == 2 and not refused.body.final
    assert refused.body.reason == "body" and "2048" in refused.body.message
    state = {"dtype": "f4", "shape": [2], "blob": 0}
    long_task = msgspec.msgpack.encode({"state": state, "task": "x" * 3000})
    asked = Header(Kind.REQUEST, seq=9, epoch=1)
    assert patient.control.send([asked.pack(), long_task, bytes(8)])
    error = patient.at_control(Kind.ERROR)
    assert error.header == asked._replace(kind=Kind.ERROR)
    assert "2048" in error.body.message
    patient.camera.put(noise(), time.monotonic_ns())
    patient.request()
    patient.at_broker(Kind.REQUEST)
