"""A robot whose frames lie in the rings of its cameras, and a replica that maps them."""

from __future__ import annotations

from typing import Any

import numpy as np

from holdfast.tests.actors.inference.bench import Bench, Echo, MakeBench
from holdfast.tests.actors.inference.robot_side import SPEC, RobotSide, example
from holdfast.transport.bodies import Request
from holdfast.transport.frame_reference import FrameReference
from holdfast.transport.frame_ring import FrameRing
from holdfast.transport.frames import FrameReader
from holdfast.transport.header import Header, Kind
from holdfast.transport.images import Image, Pixels
from holdfast.transport.messages import Blobs, encode
from holdfast.transport.outbox import Outbox, OutboxReader
from holdfast.transport.ring_layout import Shape

SHAPES = {camera.name: (camera.height, camera.width, 3) for camera in SPEC.cameras}


class Robot:
    """A robot's memory: its outbox, and the rings of its cameras."""

    def __init__(self, name: str, shapes: dict[str, Shape] = SHAPES) -> None:
        self.name = name
        self.box = bytearray(Outbox.size_for(64_000))
        self.outbox = Outbox(self.box)
        self.side = RobotSide(name, self.outbox)
        self.shapes = shapes
        self.memory = {n: bytearray(FrameRing.size_for(shape)) for n, shape in shapes.items()}
        self.rings = {n: FrameRing(self.memory[n], shape) for n, shape in shapes.items()}
        self.readers = {n: FrameReader(memory) for n, memory in self.memory.items()}

    def capture(self, seed: int) -> dict[str, FrameReference]:
        """A frame of each camera."""
        for name, ring in self.rings.items():
            ring.put(self.picture(name, seed), 1)
        return {n: FrameReference(r.nonce, r.number) for n, r in self.readers.items()}

    def overwrite(self) -> None:
        """So many frames that none from before is left in a ring."""
        for seed in range(4, 12):
            self.capture(seed)

    def picture(self, name: str, seed: int) -> Pixels:
        return np.random.default_rng(seed).integers(0, 256, self.shapes[name], np.uint8)

    def request(self, frames: dict[str, FrameReference], seq: int = 1) -> list[bytes]:
        """A request for these frames, which are promised in the outbox too."""
        blobs, seen = Blobs(), example(seq)
        self.targets = self.outbox.reserve(self.shapes)
        images: dict[str, Image] = {
            n: Blobs.reference(r, frames[n]) for n, r in self.outbox.promise().items()
        }
        body = Request(
            state=blobs.array(seen.state), images=images, task=seen.task, seed=seen.seed, slack_s=1
        )
        header = Header(Kind.REQUEST, seq=seq, epoch=1)
        return [bytes(frame) for frame in encode(header, body, blobs)]

    def copy(self, seed: int) -> None:
        """What the network actor does in time."""
        for name, target in self.targets.items():
            target[:] = self.picture(name, seed)
        self.outbox.publish()


def served(bench: MakeBench, policy: Echo, robot: Robot, **config: Any) -> Bench:
    """A replica that maps the robot's memory, and its session there."""
    b = bench(policy, {robot.name: OutboxReader(robot.box)}, robot.readers, **config)
    [accepted] = b.receive(robot.name, robot.side.open())
    assert accepted.body.shm and set(accepted.body.rings) == set(robot.rings)
    return b


def took(b: Bench, seconds: float) -> None:
    """The policy is known to take so long."""
    b.runner.times.update(dict.fromkeys(b.runner.times, seconds))
