"""A robot whose observations can be told apart by their tick."""

from __future__ import annotations

from mmap import mmap

import numpy as np

from holdfast.actors.control.observation_history import ObservationHistory
from holdfast.actors.control.tick_log import TICK_BYTES, TickLog
from holdfast.actors.inference.robot_memory import RobotMemory
from holdfast.actors.inference.served_session import TaskRule, observe
from holdfast.actors.network.request_images import RequestImages
from holdfast.actors.runtime.configs import CameraFeed, NetworkConfig
from holdfast.policy.base import CameraFeature, Observation, PolicySpec
from holdfast.tests.accepted import accept
from holdfast.transport.bodies import Request
from holdfast.transport.frame_ring import FrameRing
from holdfast.transport.frames import FrameReader
from holdfast.transport.header import Header, Kind
from holdfast.transport.messages import Blobs, decode, encode
from holdfast.transport.outbox import Outbox, OutboxReader

DT_NS = 20_000_000
EYE = (6, 8, 3)


def seeing(steps: int, stride_steps: int) -> PolicySpec:
    """A policy for that robot, which sees `steps` observations, `stride_steps` apart."""
    return PolicySpec(
        model="m",
        revision="1",
        cameras=(CameraFeature("eye", EYE[1], EYE[0]),),
        state_names=("a",),
        action_names=("a",),
        chunk_size=4,
        fps=50.0,
        observation_steps=steps,
        observation_stride_steps=stride_steps,
    )


class Arm:
    """A robot whose state and image are the number of its tick: loop, cameras and network actor
    without processes, on a clock of its own."""

    def __init__(self, spec: PolicySpec, near: bool, rings: bool = False) -> None:
        self.spec, self.tick, self.episode, self.seq = spec, 0, 0, 0
        self.log = TickLog(memoryview(bytearray(TICK_BYTES)), 1, 1)
        slots = 6 + spec.observation_window_steps
        size = FrameRing.size_for(EYE, slots)
        self.memory = {
            "r/eye": mmap(-1, size),
            "r/outbox": mmap(-1, Outbox.size_for(200 * spec.observation_steps)),
        }
        self.ring = FrameRing(self.memory["r/eye"], EYE, slots)
        readers = {"eye": FrameReader(self.memory["r/eye"])} if rings else {}
        outbox = OutboxReader(self.memory["r/outbox"])
        self.shared = RobotMemory(outbox, readers) if near else None
        self.terms = accept(
            cameras={"eye": (EYE[1], EYE[0])}, shm=near, rings=("eye",) if rings else ()
        )
        self.restart_network()

    def restart_network(self) -> None:
        """A new incarnation of the network actor, which kept nothing."""
        feed = CameraFeed(segment="r/eye", width=EYE[1], height=EYE[0])
        config = NetworkConfig(
            robot="r",
            service="p",
            control="",
            brokers=(),
            cameras={"eye": feed},
            state_names=("a",),
            action_names=("a",),
            outbox="r/outbox" if self.shared else None,
            jpeg_quality=0,
        )
        self.images = RequestImages(config, self.memory.__getitem__)

    def step(self) -> None:
        """One tick; its frame is captured just before."""
        self.tick += 1
        now_ns = self.tick * DT_NS
        self.ring.put(np.full(EYE, self.tick % 256, np.uint8), now_ns - 1_000_000)
        state = np.array([self.tick], np.float32)
        self.log.write(now_ns, 0, self.episode, state, None, None, begins_step=True)

    def reset(self) -> None:
        """An episode begins, between two ticks."""
        self.episode += 1
        header = Header(Kind.RESET, episode=self.episode)
        self.images.follow_episode(header, self.tick * DT_NS + DT_NS // 2)

    def ask(self, meanwhile: int = 0, copied: bool = False) -> Observation:
        """What the policy gets for a request that is made now and read some ticks later; `copied`:
        what was left in a ring comes into the outbox before them."""
        self.seq += 1
        now_ns, blobs, spec = self.tick * DT_NS, Blobs(), self.spec
        history = ObservationHistory.of(
            self.log, spec.observation_steps, spec.observation_stride_steps, DT_NS
        )
        header = Header(Kind.REQUEST, self.seq, self.episode, 1, now_ns)
        body = Request(
            state=blobs.array(np.array([self.tick], np.float32)),
            state_history=blobs.array(history.states),
            history_age_s=tuple(ns / 1e9 for ns in history.age_ns),
            episode_age_s=history.episode_age_ns / 1e9,
        )
        self.images.follow_episode(header, now_ns)
        self.images.take(header, body, self.terms, now_ns + 100_000)
        body = self.images.add(body, blobs, 0, now_ns)
        self.images.sent(now_ns + 100_000)
        message = decode([bytes(frame) for frame in encode(header, body, blobs)])
        if copied:
            self.images.copy_overdue(1 << 62)
        for _ in range(meanwhile):
            self.step()
        self.images.use.answered(found=True, now_ns=now_ns)
        return observe(message, "r", spec, TaskRule(), self.shared)
