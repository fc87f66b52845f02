"""Requests whose frames stay in the rings of their cameras, as far as their replica reads these."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from holdfast.actors.inference.robot_memory import RobotMemory
from holdfast.errors import WireError
from holdfast.tests.actors.network.network_bench import Bench, noise
from holdfast.tests.waiting import wait_until
from holdfast.transport.bodies import Error, Reply
from holdfast.transport.frames import FrameReader
from holdfast.transport.header import Kind
from holdfast.transport.images import Image, Pixels
from holdfast.transport.messages import Blobs, Message
from holdfast.transport.outbox import OutboxReader


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """Frames travel as they were captured."""
    made = Bench(tmp_path, resize="server", max_frame_age_s=60.0, broker_lost_after_s=60.0)
    yield made
    made.close()


def memory(bench: Bench, rings: bool = True) -> RobotMemory:
    readers = {"top": FrameReader(bench.boot.memory["r1/top"])} if rings else {}
    return RobotMemory(OutboxReader(bench.boot.memory["r1/outbox"]), readers)


def asked(bench: Bench, seq: int) -> Message[Any]:
    """What the broker gets of a request."""
    bench.request(seq=seq)
    return bench.at_broker(Kind.REQUEST)


def image(message: Message[Any]) -> Image:
    found: Image = message.body.images["top"]
    return found


def seen(bench: Bench, message: Message[Any], rings: bool = True) -> Pixels:
    """What a replica sees first of the request's image."""
    first = next(memory(bench, rings).images("top", image(message)))
    assert first.still_valid()
    return first.pixels


def count(bench: Bench, name: str) -> int:
    return int(bench.status().get("shared_frames", {}).get(name, 0))


def answer(bench: Bench, message: Message[Any], error: str = "") -> None:
    if error:
        bench.answer(message.header._replace(kind=Kind.ERROR), Error(reason=error))
        bench.at_control(Kind.ERROR)
        return
    blobs, rows = Blobs(), np.zeros((8, 1), np.float32)
    reply = Reply(chunk_model=blobs.array(rows), chunk=blobs.array(rows))
    bench.answer(message.header._replace(kind=Kind.REPLY), reply, blobs)
    bench.at_control(Kind.REPLY)


def test_a_frame_stays_in_its_ring_and_comes_into_the_outbox_when_no_answer_does(
    bench: Bench,
) -> None:
    """The request names both places; what is in them is the frame, whatever the camera writes."""
    bench.open(shm=True, rings=("top",))
    bench.camera.put(noise(), time.monotonic_ns())
    message = asked(bench, 1)
    assert image(message).encoding == "shm" and image(message).frame is not None
    assert np.array_equal(seen(bench, message), noise())
    wait_until(lambda: count(bench, "copied_late") == 1, "a copy of the frame")
    for seed in range(1, 9):
        bench.camera.put(noise(seed), time.monotonic_ns())
    assert np.array_equal(seen(bench, message), noise()), "as it was"


def test_a_frame_that_its_camera_overwrites_before_it_is_copied_is_in_neither_place(
    bench: Bench,
) -> None:
    """The replica says so; it gets no other frame."""
    bench.open(shm=True, rings=("top",))
    bench.camera.put(noise(), time.monotonic_ns())
    message = asked(bench, 1)
    for seed in range(1, 9):
        bench.camera.put(noise(seed), time.monotonic_ns())
    wait_until(
        lambda: count(bench, "overwritten") + count(bench, "copied_late") == 1, "the attempt"
    )
    if count(bench, "overwritten"):
        with pytest.raises(WireError) as gone:
            seen(bench, message)
        assert gone.value.reason == "shm-overwritten"
    else:
        assert np.array_equal(seen(bench, message), noise()), "the machine paused before the writes"


def test_after_a_late_answer_the_next_frames_are_copied_at_once(bench: Bench) -> None:
    """Their requests name the outbox alone."""
    bench.open(shm=True, rings=("top",))
    bench.camera.put(noise(), time.monotonic_ns())
    message = asked(bench, 1)
    wait_until(lambda: count(bench, "copied_late") == 1, "a copy of the frame")
    answer(bench, message)
    again = asked(bench, 2)
    assert image(again).frame is None
    assert np.array_equal(seen(bench, again, rings=False), noise())


def test_a_frame_that_the_replica_did_not_find_is_the_last_that_stays_in_its_ring(
    bench: Bench,
) -> None:
    """Control gets the replica's error; the requests after it name the outbox alone."""
    bench.open(shm=True, rings=("top",))
    bench.camera.put(noise(), time.monotonic_ns())
    message = asked(bench, 1)
    assert image(message).frame is not None
    answer(bench, message, error="shm-overwritten")
    for seq in (2, 3):
        message = asked(bench, seq)
        assert image(message).frame is None
        assert np.array_equal(seen(bench, message, rings=False), noise())
        answer(bench, message)
    wait_until(lambda: count(bench, "gone") == 1, "the count of it")


@pytest.mark.parametrize("rings", [(), ("wrist",)])
def test_a_replica_that_does_not_read_a_camera_s_ring_gets_its_frames_by_the_outbox(
    bench: Bench, rings: tuple[str, ...]
) -> None:
    """As one of an earlier release."""
    bench.open(shm=True, rings=rings)
    bench.camera.put(noise(), time.monotonic_ns())
    message = asked(bench, 1)
    assert image(message).frame is None
    assert np.array_equal(seen(bench, message, rings=False), noise())


def test_frames_that_are_resized_at_the_robot_are_not_left_in_their_ring(tmp_path: Path) -> None:
    """What the ring holds is not what travels."""
    bench = Bench(tmp_path)
    try:
        bench.open(shm=True, rings=("top",))
        bench.camera.put(noise(), time.monotonic_ns())
        message = asked(bench, 1)
        assert image(message).frame is None
        assert seen(bench, message, rings=False).shape == (24, 32, 3)
    finally:
        bench.close()
