"""The command source and its limits through pauses, holds, refusals, resets, restarts and an arm
that is moved by hand: no command jumps, and a plan that begins at the arm's position is accepted in
bounded time."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from holdfast.actors.control.buffer import ChunkBuffer
from holdfast.actors.control.command_source import CommandSource
from holdfast.actors.control.config import ControlConfig
from holdfast.actors.control.plan import MergeRule
from holdfast.actors.control.plan_memory import PlanMemory, Word
from holdfast.robot.base import ControlMode, RobotSpec
from holdfast.robot.command_limits import FLOW_S

FPS = 30.0
STEP = 1.0
WINDOW = round(FLOW_S * FPS)
CHUNK = 40
MAX_AGE = 10**18


class LimitsMachine(RuleBasedStateMachine):
    """One joint at `position`, whose arm reaches a command by `speed` of the way in each tick."""

    mode = ControlMode.POSITION
    fallback = "hold"

    def __init__(self) -> None:
        super().__init__()
        far = 1e6
        self.spec = RobotSpec(("a",), ("a",), self.mode, (-far,), (far,), (STEP * FPS,))
        fields = {"robot": "r", "driver": "sim", "service": "s", "endpoint": "e", "plan": "p"}
        self.config = msgspec.convert(
            {**fields, "fps": FPS, "safety": {"fallback": self.fallback}}, ControlConfig
        )
        self.segment = PlanMemory.private("r", 1)
        self.position, self.target = 0.0, 0.0
        self.last: float | None = None
        self.silent = 0
        """Ticks since the last command of the plan."""
        self._begin()

    def _begin(self) -> None:
        self.buffer = ChunkBuffer(self.segment, MAX_AGE)
        self.source = CommandSource(self.config, self.spec, self.segment, self.buffer)

    def plan(self, lead: int, direction: int, speed: float, length: int = CHUNK) -> None:
        """A chunk from where the arm is: its first action is `lead` ticks away already."""
        asked = self.buffer.snapshot(1, 0, 0, 0)
        self.buffer.claim(asked.seq, asked.episode, 1)
        ahead = (lead + np.arange(length, dtype=np.float32)) * direction * speed * STEP
        start = self.position if self.mode is ControlMode.POSITION else 0.0
        rows = (start + ahead)[:, None].astype(np.float32)
        assert self.buffer.merge(rows, rows, asked, MergeRule(), step=0, now_ns=0) is None

    def tick(self) -> bool:
        """One tick; whether a command of the plan was accepted."""
        self.silent += 1
        self.source.locate(np.array([self.position], np.float32))
        command = self.source.command(0)
        accepted = self.source.accepted
        self.segment.words[Word.COMMAND_NS] = accepted
        if accepted:
            assert command is not None
            self._check(float(command[0]))
            self.last, self.silent = float(command[0]), 0
        elif command is not None:
            assert self.fallback == "zero" and command[0] == 0
            self.last = 0.0
        self._move(command)
        return accepted

    def _check(self, command: float) -> None:
        allowed = STEP * min(self.silent, WINDOW) * 1.001 + 1e-3
        rest = self.position if self.mode is ControlMode.POSITION else 0.0
        near = [rest] if self.last is None or self.silent > WINDOW else [rest, self.last]
        assert min(abs(command - x) for x in near) <= allowed, "a jump"

    def _move(self, command: np.ndarray | None) -> None:
        if command is not None:
            self.target = float(command[0])
        self.position += 0.3 * (self.target - self.position)

    @rule(
        lead=st.integers(0, WINDOW - 1),
        direction=st.sampled_from([-1, 1]),
        speed=st.floats(0, 1),
        ticks=st.integers(1, 30),
    )
    def a_plan_is_played(self, lead: int, direction: int, speed: float, ticks: int) -> None:
        self.plan(lead, direction, speed)
        for _ in range(ticks):
            self.tick()

    @rule(jump=st.floats(-1000, 1000), ticks=st.integers(1, 5))
    def an_absurd_plan_is_played(self, jump: float, ticks: int) -> None:
        self.position += jump
        self.plan(0, 1, 1.0, ticks)
        self.position -= jump
        for _ in range(ticks):
            self.tick()

    @rule(ticks=st.integers(1, 40))
    def the_plan_is_dry(self, ticks: int) -> None:
        self.buffer.reset()
        for _ in range(ticks):
            self.tick()

    @rule(by=st.floats(-1000, 1000))
    def a_hand_moves_the_arm(self, by: float) -> None:
        self.position += by
        self.target = self.position

    @rule(ticks=st.integers(1, 40), by=st.floats(-1000, 1000))
    def a_pause_in_which_a_hand_moves_the_arm(self, ticks: int, by: float) -> None:
        for _ in range(ticks):
            self.silent += 1
            self.source.locate(np.array([self.position], np.float32))
            rest = self.source.rest()
            assert (rest is None) == (self.mode is ControlMode.POSITION)
            self.segment.words[Word.COMMAND_NS] = 0
            self._move(rest)
        self.last = None if self.mode is ControlMode.POSITION else 0.0
        self.a_hand_moves_the_arm(by)

    @rule()
    def an_episode_begins(self) -> None:
        self.buffer.reset()
        self.source.interrupt()
        self.last = None

    @rule(ticks=st.integers(0, 40), by=st.floats(-1000, 1000))
    def the_process_is_killed(self, ticks: int, by: float) -> None:
        self._begin()
        self.source.missed(ticks)
        self.silent += ticks
        if ticks > WINDOW:
            self.a_hand_moves_the_arm(by)

    @rule(lead=st.integers(0, WINDOW - 1), direction=st.sampled_from([-1, 1]))
    def a_policy_that_observes_the_arm_is_accepted(self, lead: int, direction: int) -> None:
        """It plans anew every tick, from where the arm then is, at the full rate."""
        for _ in range(WINDOW + 1):
            self.plan(lead, direction, 1.0)
            if self.tick():
                return
        pytest.fail(f"refused {WINDOW + 1} times in a row: {self.source.refusing}")


class VelocityMachine(LimitsMachine):
    """The same of a velocity-controlled joint: its command is zero where the plan is not played."""

    mode = ControlMode.VELOCITY
    fallback = "zero"


TestLimits = LimitsMachine.TestCase
TestLimits.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestVelocityLimits = VelocityMachine.TestCase
TestVelocityLimits.settings = settings(max_examples=80, stateful_step_count=40, deadline=None)
