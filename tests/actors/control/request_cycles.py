"""Request cycles of a robot with two joints, for tests: new, with a session, and streaming."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np

from holdfast.actors.control.buffer import ChunkBuffer
from holdfast.actors.control.config import ControlConfig
from holdfast.actors.control.plan_memory import PLAN_BYTES, PlanMemory
from holdfast.actors.control.planned_request import PlannedRequest
from holdfast.actors.control.request_cycle import RequestCycle
from holdfast.robot.base import ControlMode, RobotSpec
from holdfast.transport.bodies import Accept

MS = 1_000_000
S = 1_000_000_000
SPEC = RobotSpec(("a", "b"), ("a", "b"), ControlMode.POSITION, (-9, -9), (9, 9), (9, 9))
TERMS = Accept(
    session="x",
    replica="s/0",
    model="m",
    revision="1",
    checkpoint="c",
    chunk_size=10,
    fps=10.0,
    action_names=SPEC.action_names,
    cameras={},
    prefix="guided",
    max_prefix_steps=4,
)
CHUNK = np.zeros((TERMS.chunk_size, len(SPEC.action_names)), np.float32)


def new_cycle(
    memory: bytearray | None = None, max_action_age_s: int = 60, **settings: Any
) -> RequestCycle:
    """A cycle over `memory` (PLAN_BYTES long; its own by default), with `settings` of the control
    actor. Its sessions outlast the test unless `safety` has a `liveness_s`."""
    fields = {"robot": "r", "driver": "sim", "service": "s", "endpoint": "e", "plan": "p"}
    safety = {"liveness_s": 1000.0, **settings.pop("safety", {})}
    config = msgspec.convert({**fields, "fps": 10.0, "safety": safety, **settings}, ControlConfig)
    plan = PlanMemory(memory or bytearray(PLAN_BYTES), "r", len(SPEC.action_names))
    return RequestCycle(config, SPEC, plan, ChunkBuffer(plan, max_action_age_s * S))


def opened(cycle: RequestCycle, now_ns: int = S, **terms: Any) -> RequestCycle:
    """The cycle, after a handshake that was answered with TERMS and `terms`."""
    epoch = cycle.session.open_epoch(now_ns)
    assert epoch is not None
    cycle.session.opening(epoch, now_ns)
    cycle.session.accepted(msgspec.structs.replace(TERMS, **terms), epoch, now_ns)
    return cycle


def ask(cycle: RequestCycle, now_ns: int, step: int = 10) -> PlannedRequest:
    """Make a request that is due, and send it."""
    asked = cycle.ask(now_ns, step, now_ns)
    assert asked is not None
    cycle.asked(now_ns)
    return asked


def key(cycle: RequestCycle) -> tuple[int, int, int]:
    """(seq, episode, epoch) of the request under way."""
    asked = cycle.buffer.outstanding
    assert asked is not None
    return asked.seq, asked.episode, asked.epoch


def streaming(**settings: Any) -> RequestCycle:
    """A cycle whose first chunk was merged at the instant S."""
    cycle = opened(new_cycle(**settings))
    ask(cycle, S)
    assert cycle.replied(CHUNK, CHUNK, key(cycle), 10, S) is None
    return cycle
