"""World, sensor and witness actors in this process, on anonymous memory: what they publish."""

from __future__ import annotations

import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import pytest

from holdfast.actors.actor import Actor, boot_in_memory
from holdfast.actors.sensor import SensorActor
from holdfast.actors.witness import WitnessActor, overlaps
from holdfast.actors.world import WorldActor
from holdfast.robot.sim import command
from holdfast.robot.sim.scene import SIZE, unpack
from holdfast.transport.frames import FrameReader, FrameRing
from holdfast.transport.register import Register

SEGMENTS = {
    "r/scene": Register.size_for(SIZE),
    "r/command": Register.size_for(256),
    "r/top": FrameRing.size_for((120, 160, 3)),
    "witness/pauses": Register.size_for(1024),
}


@contextmanager
def running(actor: Actor, stop: Callable[[], object]) -> Iterator[Actor]:
    """Run an actor's three phases in a thread; ends it, and fails if it crashed."""
    codes: list[int] = []
    thread = threading.Thread(target=lambda: codes.append(actor.main()), daemon=True)
    thread.start()
    try:
        yield actor
    finally:
        stop()
        thread.join(5)
    assert codes == [0]


def wait_for(condition: Callable[[], object], within_s: float = 5.0) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true in time"
        time.sleep(0.005)


@contextmanager
def world() -> Iterator[tuple[Actor, dict[str, object]]]:
    config = {"robot": "r", "scene": "r/scene", "command": "r/command", "seed": 5}
    boot, link, supervisor = boot_in_memory("world", "r/world", config, SEGMENTS)
    with running(WorldActor(boot, link), lambda: supervisor.command("stop")) as actor:
        scene = Register(boot.memory["r/scene"], writable=False)
        wait_for(lambda: scene.read() is not None)
        yield actor, dict(boot.memory)
    supervisor.close()
    link.close()


def test_the_belt_goes_on_and_the_arm_holds_while_nobody_commands() -> None:
    """A world without a control actor is a world, not a stopped simulation."""
    with world() as (_, memory):
        scene = Register(memory["r/scene"], writable=False)
        first = unpack(scene.read())
        wait_for(lambda: unpack(scene.read()).steps >= first.steps + 24)
        later = unpack(scene.read())
        assert later.travel > first.travel
        assert np.allclose(later.position, first.position, atol=1e-9)


def test_a_command_moves_the_arm() -> None:
    with world() as (_, memory):
        scene = Register(memory["r/scene"], writable=False)
        target = np.array([0.1, 0.1, 0.2, 0.0, 0.5], np.float32)
        Register(memory["r/command"], writable=True).write(
            command.pack(target, time.monotonic_ns())
        )
        wait_for(lambda: np.allclose(unpack(scene.read()).position, target, atol=0.01))


def test_frames_carry_the_instant_of_the_scene_they_show() -> None:
    with world() as (_, memory):
        config = {
            "robot": "r",
            "camera": "top",
            "driver": "sim",
            "width": 160,
            "height": 120,
            "fps": 60.0,
            "segment": "r/top",
            "scene": "r/scene",
            "options": {"view": "overhead"},
        }
        boot, link, supervisor = boot_in_memory("sensor", "r/top", config, memory=memory)
        with running(SensorActor(boot, link), lambda: supervisor.command("stop")):
            reader = FrameReader(boot.memory["r/top"])
            wait_for(lambda: reader.number >= 3)
            frame = reader.latest()
            assert frame is not None
            assert 0 <= time.monotonic_ns() - frame.capture_ns < 1_000_000_000
            assert frame.image.std() > 5, "a picture of nothing"
        supervisor.close()
        link.close()


def test_the_witness_publishes_the_pauses_it_slept_through(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pause of its own process stands for one of the machine: both make it oversleep."""
    boot, link, supervisor = boot_in_memory(
        "witness", "witness", {"segment": "witness/pauses", "rate_hz": 50.0}, SEGMENTS
    )
    actor = WitnessActor(boot, link)
    sleep, begun = time.sleep, []

    def oversleep(seconds: float) -> None:
        if threading.current_thread() is not threading.main_thread() and not begun:
            begun.append(time.monotonic_ns())
            seconds += 0.03
        sleep(seconds)

    monkeypatch.setattr(time, "sleep", oversleep)
    with running(actor, lambda: supervisor.command("stop")):
        register = Register(boot.memory["witness/pauses"], writable=False)
        wait_for(lambda: register.read() is not None)
    payload = register.read()
    assert payload is not None
    start, end = struct.unpack_from("=2q", payload)
    assert end - start >= 25_000_000
    assert overlaps(payload, start - 10, start + 10)
    assert not overlaps(payload, end + 10**12, end + 2 * 10**12)
    supervisor.close()
    link.close()
