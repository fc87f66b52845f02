"""The driver of a simulated robot in a thread of the test, and what it publishes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from holdfast.actors.driver import registers
from holdfast.actors.driver.driver import DriverActor
from holdfast.actors.driver.registers import RobotState
from holdfast.actors.runtime.actor import Actor, boot_in_memory
from holdfast.robot.sim.scene import SIZE, Scene, unpack
from holdfast.tests.waiting import wait_until
from holdfast.transport.frame_ring import FrameRing
from holdfast.transport.seqlock import Seqlock

SEGMENTS = {
    "r/scene": Seqlock.size_for(SIZE),
    "r/command": Seqlock.size_for(registers.command_bytes(5)),
    "r/state": Seqlock.size_for(registers.state_bytes(7)),
    "r/top": FrameRing.size_for((120, 160, 3)),
    "witness/pauses": Seqlock.size_for(1024),
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
        thread.join(60)
    assert codes == [0]


@contextmanager
def driven(config: dict[str, object]) -> Iterator[tuple[Actor, dict[str, Any]]]:
    """A driver that runs, and its memory."""
    boot, link, supervisor = boot_in_memory("driver", "r/driver", config, SEGMENTS)
    with running(DriverActor(boot, link), lambda: supervisor.command("stop")) as actor:
        scene = Seqlock(boot.memory["r/scene"], writable=False)
        wait_until(lambda: scene.read() is not None)
        yield actor, dict(boot.memory)
    supervisor.close()
    link.close()


def scene_in(memory: dict[str, Any]) -> Scene:
    """The scene that the driver published last."""
    block = Seqlock(memory["r/scene"], writable=False).read()
    assert block is not None
    return unpack(block)


def said(memory: dict[str, Any]) -> RobotState | None:
    """The state that the driver published last; None before the first."""
    block = Seqlock(memory["r/state"], writable=False).read()
    return None if block is None else registers.unpack_state(block, 7)
