"""A robot that stands, for want of a plan or because its limits refuse it, moves again by itself,
however late its chunks are: a request cycle and its command source, a policy that goes towards a
goal from where the robot is or from where its plan ends, and a robot that does what passes the
limits."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.actors.control.buffer import ChunkBuffer
from holdfast.actors.control.command_source import CommandSource
from holdfast.actors.control.config import ControlConfig
from holdfast.actors.control.plan import Floats
from holdfast.actors.control.plan_memory import PlanMemory
from holdfast.actors.control.planned_request import PlannedRequest
from holdfast.actors.control.request_cycle import RequestCycle
from holdfast.robot.base import ControlMode, RobotSpec
from holdfast.tests.actors.control.request_cycles import key, opened

FPS = 25.0
TICK_NS = round(1e9 / FPS)
FLOW_TICKS = 8
"""As many as FLOW_S lasts, rounded up."""
CHUNK_STEPS = 40
STEP = 0.1
"""What `max_rate` allows in a tick."""
SPEC = RobotSpec(("x",), ("x",), ControlMode.POSITION, (-1e6,), (1e6,), (STEP * FPS,))


class Cell:
    """One robot on its way to a far goal at `speed`, a part of what its limits allow. Chunks come
    `late` ticks after they were asked for."""

    def __init__(self, trim: str, speed: float, late: int) -> None:
        fields = {"robot": "r", "driver": "d", "service": "s", "endpoint": "e", "plan": "p"}
        settings = {
            "fps": FPS,
            "plan_settings": {"trim": trim, "buffer_time_s": 0.5},
            "safety": {"liveness_s": 1e6, "max_offline_s": "none", "request_timeout_s": 1e6},
        }
        config = msgspec.convert({**fields, **settings}, ControlConfig)
        memory = PlanMemory.private("r", 1)
        buffer = ChunkBuffer(memory, round(config.safety.max_action_age_s * 1e9))
        self.source = CommandSource(config, SPEC, memory, buffer)
        self.cycle = RequestCycle(config, SPEC, memory, buffer, self.source.begin)
        self.tick, self.late, self.speed = 100, late, speed * STEP
        self.position = 0.0
        self.commanded_tick = -FLOW_TICKS
        self.asked: PlannedRequest | None = None
        self.answer: Floats | None = None
        self.answer_tick = 0
        opened(
            self.cycle,
            self.now_ns,
            chunk_size=CHUNK_STEPS,
            fps=FPS,
            action_names=SPEC.action_names,
            max_prefix_steps=CHUNK_STEPS,
        )

    @property
    def now_ns(self) -> int:
        return self.tick * TICK_NS

    def run(self, ticks: int) -> int:
        """As many ticks; how many of them in a row, at most, had no accepted command."""
        idle = most = 0
        for _ in range(ticks):
            idle = 0 if self.step() else idle + 1
            most = max(most, idle)
        return most

    def step(self) -> bool:
        """One tick, as a control loop has it; whether its command was one of the plan."""
        cycle, source = self.cycle, self.source
        if self.answer is not None and self.tick >= self.answer_tick:
            chunk, self.answer = self.answer, None
            if cycle.buffer.outstanding is not None:
                cycle.replied(chunk, chunk, key(cycle), self.tick, self.now_ns)
        cycle.elapse(self.now_ns)
        source.locate(np.array([self.position], np.float32))
        if self.tick - self.commanded_tick > FLOW_TICKS:  # as a driver says after a hold
            source.attach()
        if source.strayed:
            cycle.plan_refused(source.refusing)
        request = cycle.ask(self.now_ns, self.tick, self.now_ns)
        if request is not None:
            cycle.asked(self.now_ns)
            self.answer, self.answer_tick = self._chunk(request), self.tick + self.late
        command = source.command(self.now_ns)
        if source.accepted:
            assert command is not None
            self.position, self.commanded_tick = float(command[0]), self.tick
        self.tick += 1
        return source.accepted

    def _chunk(self, request: PlannedRequest) -> Floats:
        """Continues the plan, if the request has one, and else begins where the robot is."""
        prefix = np.zeros((0, 1), np.float32) if request.prefix is None else request.prefix
        start = float(prefix[-1, 0]) if len(prefix) else self.position
        ahead = np.arange(1, CHUNK_STEPS - len(prefix) + 1, dtype=np.float32) * self.speed
        return np.concatenate([prefix, np.float32(start) + ahead[:, None]])


@pytest.mark.parametrize("trim", ["time", "consumed"])
@given(
    speed=st.floats(0.3, 1.0),
    usual=st.integers(0, 5),
    late=st.integers(0, 30),
    begins=st.integers(0, 60),
    lasts=st.integers(0, 120),
)
def test_a_robot_that_stalled_moves_again_however_late_its_chunks_are(
    trim: str, speed: float, usual: int, late: int, begins: int, lasts: int
) -> None:
    """Two requests and the time until a plan that is not followed is void are the most it takes."""
    cell = Cell(trim, speed, usual)
    cell.run(begins)
    cell.late = lasts  # the answer to what is asked next comes after the stall
    cell.run(lasts)
    cell.late = late
    if cell.answer is not None:
        cell.answer_tick = min(cell.answer_tick, cell.tick)
    before = cell.position
    bound = 2 * (late + FLOW_TICKS) + 5
    assert cell.run(300) <= bound
    assert cell.position > before + 300 / (bound + CHUNK_STEPS - late) * speed * STEP
    assert not cell.source.refusing


@pytest.mark.parametrize("trim", ["time", "consumed"])
def test_a_plan_that_the_robot_cannot_follow_is_void_and_the_next_begins_where_it_stands(
    trim: str,
) -> None:
    """It was moved by hand, say: commands are refused for 0.3 s, then it goes on from there."""
    cell = Cell(trim, 1.0, 2)
    cell.run(50)
    cell.position -= 20
    cell.source.interrupt()
    moved = cell.position
    assert cell.run(60) <= FLOW_TICKS + 5
    assert moved < cell.position < moved + 60 * STEP
    assert cell.cycle.buffer.dropped.get("void", 0) <= 1
