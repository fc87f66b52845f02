"""The command of each tick: the plan's next one, or the fallback, and nothing that the limits
refuse."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest

from holdfast.actors.control.buffer import ChunkBuffer
from holdfast.actors.control.command_source import CommandSource
from holdfast.actors.control.config import ControlConfig, faults
from holdfast.actors.control.plan import MergeRule
from holdfast.actors.control.plan_memory import PlanMemory, Word
from holdfast.robot.base import ControlMode, RobotSpec
from holdfast.robot.command_limits import FLOW_S

MAX_AGE = 10**9


class Rig:
    """A command source and its plan, which outlives it."""

    def __init__(self, mode: ControlMode = ControlMode.POSITION, **settings: Any):
        spec = RobotSpec(("a",), ("a", "other"), mode, (-10,), (10,), (30,))
        fields = {"robot": "r", "driver": "sim", "service": "s", "endpoint": "e", "plan": "p"}
        config = msgspec.convert({**fields, **settings}, ControlConfig)
        self.memory = PlanMemory.private("r", 1)
        self.words = self.memory.words
        self._made_of = config, spec
        self.restart()

    def restart(self) -> None:
        self.buffer = ChunkBuffer(self.memory, MAX_AGE)
        self.source = CommandSource(*self._made_of, self.memory, self.buffer)

    def chunk(self, *values: float) -> None:
        asked = self.buffer.snapshot(1, 0, 0, 0)
        self.buffer.claim(asked.seq, asked.episode, 1)
        rows = np.array(values, np.float32)[:, None]
        assert self.buffer.merge(rows, rows, asked, MergeRule(), step=0, now_ns=0) is None

    def tick(self, now_ns: int = 0) -> float | None:
        command = self.source.command(now_ns)
        return None if command is None else float(command[0])


def test_the_plan_is_played_and_then_the_arm_holds() -> None:
    """A position-controlled robot with a dry plan gets no command; each such tick counts."""
    rig = Rig()
    rig.chunk(1, 2)
    assert [rig.tick() for _ in range(4)] == [1, 2, None, None]
    assert rig.words[Word.FALLBACKS] == 2


def test_the_fallback_repeat_last_repeats_the_last_accepted_command() -> None:
    """Before the first accepted command it gives none."""
    rig = Rig(safety={"fallback": "repeat_last"})
    assert rig.tick() is None, "there is none yet"
    rig.chunk(1, 2)
    assert [rig.tick() for _ in range(4)] == [1, 2, 2, 2]


def test_a_velocity_robot_gets_zero_when_its_plan_is_dry_and_when_it_rests() -> None:
    """`rest` is zero for a velocity and no command for a position."""
    rig = Rig(ControlMode.VELOCITY, safety={"fallback": "zero"})
    rig.chunk(1)
    assert [rig.tick() for _ in range(2)] == [1, 0]
    rest = rig.source.rest()
    assert rest is not None and rest[0] == 0
    assert Rig().source.rest() is None


def test_a_velocity_robot_may_always_be_stopped_at_once() -> None:
    """The step limit is for plans: zero is the way out, not a command that could be refused."""
    rig = Rig(ControlMode.VELOCITY, safety={"fallback": "zero"})
    rig.chunk(10)
    assert [rig.tick() for _ in range(3)] == [10, 0, 0]


def test_a_refused_command_is_treated_as_a_missing_action() -> None:
    """It gives the fallback and is counted as refused, not as stalled."""
    rig = Rig()
    rig.chunk(1, 99, 1.5)
    assert [rig.tick() for _ in range(3)] == [1, None, 1.5]
    assert rig.source.refused == {"range": 1}
    assert rig.words[Word.STALLED] == 0, "refused is not stalled"


def test_a_plan_that_is_refused_for_as_long_as_commands_flow_is_left() -> None:
    """One accepted command, an interruption or the end of the plan in between begins anew."""
    rig = Rig()
    flow_ticks = round(FLOW_S * 30)
    for between in (lambda: rig.chunk(1), rig.source.interrupt, rig.buffer.reset):
        rig.chunk(*[99] * flow_ticks)
        while len(rig.buffer):
            rig.tick()
        assert not rig.source.strayed
        between()
        rig.tick()
    rig.chunk(*[99] * (flow_ticks + 1))
    while len(rig.buffer):
        assert not rig.source.strayed
        rig.tick()
    assert rig.source.strayed


def test_a_robot_that_stands_begins_a_chunk_near_where_it_is() -> None:
    """With the last action within a step, if there is one; while commands flow, that for now."""
    rig = Rig()
    chunk = np.array([[0], [1], [2], [3], [4]], np.float32)  # a step is 1
    rig.source.locate(np.array([1.0, 7.0], np.float32))
    assert rig.source.begin(chunk, 0, 4) == 2
    assert rig.source.begin(chunk, 3, 4) == 3
    assert rig.source.begin(chunk, 0, 9) == 2
    rig.chunk(1)
    rig.tick()
    assert rig.source.begin(chunk, 0, 4) == 4


def test_the_first_command_is_limited_to_a_step_from_the_measured_state() -> None:
    """Without an earlier command the step limit counts from `locate`."""
    rig = Rig()
    rig.source.locate(np.array([0.0, 7.0], np.float32))
    rig.chunk(5)
    assert rig.tick() is None
    assert rig.source.refused == {"step": 1}


def test_a_restarted_loop_steps_on_from_the_last_command_and_not_from_where_the_arm_lags() -> None:
    """The last command survives in the plan's memory as the reference of the step limit."""
    rig = Rig()
    rig.source.locate(np.array([1.0, 7.0], np.float32))
    rig.chunk(1, 2, 3)
    assert [rig.tick() for _ in range(2)] == [1, 2]
    rig.words[Word.COMMAND_NS] = 5  # as the loop notes after each command of the plan
    rig.restart()
    rig.source.locate(np.array([1.2, 7.0], np.float32))
    assert rig.tick() == 3
    rig.chunk(4, 9)
    assert rig.tick() == 4
    rig.restart()
    assert rig.tick() is None and rig.source.refused == {"step": 1}, "it knows where it was"


def test_a_loop_restarted_after_a_refusal_starts_from_where_the_arm_is() -> None:
    """The last popped action may have been refused: it is not where the arm was sent."""
    rig = Rig()
    rig.chunk(1, 9, 3)
    assert [rig.tick() for _ in range(2)] == [1, None]
    rig.words[Word.COMMAND_NS] = 0
    rig.restart()
    rig.source.locate(np.array([2.5, 7.0], np.float32))
    assert rig.tick() == 3


def test_a_velocity_robot_starts_from_rest() -> None:
    """Its step limit counts from zero, whatever its state."""
    rig = Rig(ControlMode.VELOCITY, safety={"fallback": "zero"})
    rig.source.locate(np.array([9.0, 9.0], np.float32))
    rig.chunk(9, 1)
    assert [rig.tick() for _ in range(2)] == [0, 1]
    assert rig.source.refused == {"step": 1}


def test_every_tick_without_an_action_is_a_stall_while_one_is_due() -> None:
    """With interpolation every command of a missing step counts; `rest` and `due=False` do not."""
    rig = Rig(interpolate=2)
    rig.source.command(0, due=False)
    rig.source.command(0, due=False)
    assert rig.words[Word.STALLED] == 0
    rig.chunk(1)
    assert [rig.tick() for _ in range(5)] == [1, 1, None, None, None]
    assert rig.words[Word.STALLED] == 3, "every command of a policy step that has no action"
    rig.source.rest()
    assert rig.words[Word.STALLED] == 3


def test_a_refusal_says_which_joint_how_far_and_which_limit_until_one_is_accepted() -> None:
    """`refusing` and `refusing_s` hold while all commands are refused, then both are empty."""
    rig = Rig()
    rig.source.locate(np.array([0.0, 7.0], np.float32))
    rig.chunk(5, 6, 99, 1, 2)
    refusals = []
    for n in range(3):
        rig.tick(now_ns=n * 10**8 + 1)
        refusals.append((rig.source.refusing_s, rig.source.refusing))
    assert refusals == [
        (0.0, "a: 5 is 5 away from where the robot is (0); its max_rate allows 1"),
        (0.1, "a: 6 is 6 away from where the robot is (0); its max_rate allows 2"),
        (0.2, "a: 99 is outside its range -10 to 10"),
    ]
    assert rig.tick() == 1
    assert (rig.source.refusing_s, rig.source.refusing) == (0.0, "")


def test_an_interruption_does_not_end_a_series_of_refusals() -> None:
    """`refusing_s` goes on over episodes and pauses: nothing was accepted meanwhile."""
    rig = Rig()
    rig.chunk(99, 99, 99)
    rig.tick(now_ns=1)
    rig.source.interrupt()
    rig.source.rest()
    rig.tick(now_ns=5 * 10**8 + 1)
    assert rig.source.refusing_s == 0.5
    assert rig.source.refusing == "a: 99 is outside its range -10 to 10"


def test_an_action_that_is_too_old_is_not_played() -> None:
    """An action counts as stale once its observation is older than the bound."""
    rig = Rig()
    rig.chunk(1, 2, 3)
    assert rig.tick(MAX_AGE) == 1
    assert rig.tick(MAX_AGE + 1) is None
    assert rig.words[Word.STALE] == 2


@pytest.mark.parametrize(
    ("mode", "settings", "about"),
    [
        (ControlMode.POSITION, {"fps": 0.0}, "fps"),
        (ControlMode.POSITION, {"interpolate": 0}, "interpolate"),
        (ControlMode.POSITION, {"fps": 500.0, "interpolate": 10}, "interpolate"),
        (ControlMode.POSITION, {"plan_settings": {"blend_weight": 0.0}}, "plan.blend_weight"),
        (ControlMode.POSITION, {"plan_settings": {"buffer_time_s": 0.0}}, "plan.buffer_time_s"),
        (ControlMode.POSITION, {"safety": {"max_action_age_s": 0.0}}, "safety.max_action_age_s"),
        (ControlMode.POSITION, {"safety": {"fallback": "zero"}}, "safety.fallback"),
        (ControlMode.VELOCITY, {"safety": {"fallback": "hold"}}, "safety.fallback"),
        (ControlMode.VELOCITY, {"safety": {"fallback": "repeat_last"}}, "safety.fallback"),
    ],
)
def test_an_impossible_setting_is_named_by_its_path(
    mode: ControlMode, settings: dict[str, Any], about: str
) -> None:
    """`faults` finds exactly one fault, at the setting's path in fleet.yaml."""
    fields = {"robot": "r", "driver": "sim", "service": "s", "endpoint": "e", "plan": "p"}
    config = msgspec.convert({**fields, **settings}, ControlConfig)
    found = faults(config, mode)
    assert len(found) == 1 and found[0].path == about


def test_the_default_settings_suit_a_position_controlled_arm() -> None:
    """`faults` finds nothing in a config without settings."""
    fields = {"robot": "r", "driver": "sim", "service": "s", "endpoint": "e", "plan": "p"}
    assert faults(msgspec.convert(fields, ControlConfig), ControlMode.POSITION) == []
