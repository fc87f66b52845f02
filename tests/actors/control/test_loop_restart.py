"""What the next incarnation of a control actor goes on with."""

from __future__ import annotations

from typing import Any

from holdfast.actors.control.plan_memory import Word
from holdfast.actors.runtime.actor import EXIT_CRASHED
from holdfast.errors import RobotError
from holdfast.tests.actors.control.cell_states import in_order, is_streaming, running
from holdfast.tests.actors.control.conftest import Cell
from holdfast.tests.waiting import wait_until


def crash(cell: Cell) -> None:
    """End the actor without an end in order: its robot fails."""

    def fails(out: Any) -> int:
        raise RobotError("the cable was pulled by the test")

    cell.robot.read_state = fails  # type: ignore[method-assign]
    assert cell.ended() == EXIT_CRASHED
    del cell.robot.read_state
    cell.stop()


def test_the_next_incarnation_continues_the_plan_before_it_has_a_session(
    cell: Cell,
) -> None:
    """No action is skipped or repeated, and the gap is in the status."""
    running(cell)
    cell.server.silent = True
    crash(cell)
    played = cell.played()
    cell.start()
    wait_until(lambda: len(cell.played()) >= len(played) + 3, "the plan to go on")
    assert cell.played()[len(played)] == played[-1] + 1
    assert in_order(cell.played())
    wait_until(lambda: cell.status()["plan_found"] == "a plan", "its own report")
    assert cell.status()["max_command_gap_ms"] > 10
    cell.server.silent = False
    wait_until(lambda: is_streaming(cell) and cell.status()["epoch"] > 1, "the stream")
    assert cell.status()["ticks"] > len(played)
    assert in_order(cell.played())


def test_counters_of_requests_epochs_and_episodes_never_go_back(cell: Cell) -> None:
    """Seq, epoch and episode continue over a crash."""
    running(cell)
    cell.command("reset")
    words = cell.actor._words
    before = [words[w] for w in (Word.SEQ, Word.EPOCH, Word.EPISODE)]
    crash(cell)
    cell.start()
    wait_until(lambda: is_streaming(cell) and cell.status()["epoch"] >= 2, "the stream")
    after = [cell.actor._words[w] for w in (Word.SEQ, Word.EPOCH, Word.EPISODE)]
    assert all(b >= a for a, b in zip(before, after, strict=True))
