"""What a robot executed is on disk, step by step, over restarts of the process that writes it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from holdfast.actors.control.plan import PlannedAction
from holdfast.actors.control.tick_log import TickLog
from holdfast.actors.network.executed_log import ExecutedHead, ExecutedLog, ExecutedStep, read

STATES, ACTIONS = ("a", "b", "c"), ("a", "b")


def head(epoch_ns: int = 10**18) -> ExecutedHead:
    return ExecutedHead(
        robot="r1", fps=30.0, state_names=STATES, action_names=ACTIONS, epoch_ns=epoch_ns
    )


def executed(path: Path) -> list[ExecutedStep]:
    return [line for line in read(path) if isinstance(line, ExecutedStep)]


class Robot:
    """The tick log of one robot, written as control writes it: two ticks a step."""

    def __init__(self, size: int = 64_000) -> None:
        self.memory = memoryview(bytearray(size))
        self._log: TickLog | None = None
        self._ticks = 0

    def steps(self, number: int, seq: int | None) -> None:
        self._log = self._log or TickLog(self.memory, len(STATES), len(ACTIONS))
        for _ in range(2 * number):
            n = self._ticks
            command = np.full(2, n / 10, np.float32)
            mark = np.array([n, 5, seq or 0, 1, n % 7, 0, 0, 0, 0])
            action = None if seq is None else PlannedAction(command, command, mark)
            given = None if seq is None else command
            state = np.full(3, n, np.float32)
            self._log.write(n * 1000, 0, 1, state, given, action, n % 2 == 0)
            self._ticks += 1

    def writer(self, path: Path, first: bool = True) -> ExecutedLog:
        return ExecutedLog(path, head(), self.memory, 1_000_000, first)


def test_each_policy_step_is_one_line_with_its_origin(tmp_path: Path) -> None:
    """The ticks between are not in it; a step without a command says so; numbers are exact."""
    robot, path = Robot(), tmp_path / "r1.jsonl"
    log = robot.writer(path)
    log.drain()  # control has not started yet
    robot.steps(3, seq=9)
    robot.steps(1, seq=None)
    log.close()
    assert read(path)[0] == head()
    steps = executed(path)
    assert [step.tick for step in steps] == [0, 2, 4, 6]
    assert [(step.session, step.seq, step.step) for step in steps[:3]] == [
        (5, 9, 0),
        (5, 9, 2),
        (5, 9, 4),
    ]
    assert steps[3].command is None and steps[3].seq is None
    assert np.array_equal(np.array(steps[1].command, np.float32), np.full(2, 0.2, np.float32))


def test_a_restarted_writer_leaves_no_step_out_and_repeats_none(tmp_path: Path) -> None:
    """What was executed while the network actor was dead is read from the ring."""
    robot, path = Robot(), tmp_path / "r1.jsonl"
    killed = robot.writer(path)
    robot.steps(5, seq=1)
    killed.drain()
    robot.steps(5, seq=2)
    log = robot.writer(path, first=False)
    log.drain()
    robot.steps(5, seq=3)
    log.close()
    assert [step.tick for step in executed(path)] == list(range(0, 30, 2))
    assert log.lost == 0


def test_a_restarted_writer_looks_at_the_end_of_a_long_file(tmp_path: Path) -> None:
    """Whatever half a line its tail begins with, and the one that a kill cut off."""
    robot, path = Robot(), tmp_path / "r1.jsonl"
    first = robot.writer(path)
    robot.steps(5, seq=1)
    first.close()
    lines = path.read_bytes()
    path.write_bytes(lines.partition(b"\n")[2] * 300 + lines + b'{"kind":"step","tick":9')
    robot.steps(5, seq=2)
    log = robot.writer(path, first=False)
    log.close()
    assert [step.tick for step in executed(path)][-6:] == [8, 10, 12, 14, 16, 18]


def test_a_new_run_of_the_fleet_begins_at_its_own_first_tick(tmp_path: Path) -> None:
    """The file's last tick belongs to the run before: it hides nothing of this one."""
    path = tmp_path / "r1.jsonl"
    for _ in range(2):
        robot = Robot()
        log = robot.writer(path)
        robot.steps(4, seq=1)
        log.close()
    assert [step.tick for step in executed(path)] == [0, 2, 4, 6] * 2


def test_what_the_ring_lost_is_counted(tmp_path: Path) -> None:
    """A writer that was away for longer than the ring's length goes on with what is there."""
    robot, path = Robot(size=4096), tmp_path / "r1.jsonl"
    log = robot.writer(path)
    robot.steps(1, seq=1)
    log.drain()
    robot.steps(500, seq=1)
    log.close()
    ticks = [step.tick for step in executed(path)]
    assert ticks[0] == 0 and ticks[-1] == 1000 and log.lost > 900
    assert log.lost + 2 * len(ticks) == pytest.approx(1002, abs=2)


def test_a_file_of_something_else_is_named_with_its_line(tmp_path: Path) -> None:
    """A person sees which line is not one of executed steps."""
    path = tmp_path / "r1.jsonl"
    path.write_text('{"kind": "step"}\n')
    with pytest.raises(ValueError, match=r"r1.jsonl, line 1: expected a line of executed steps"):
        read(path)
