"""The status board of an actor: its report, its progress, and the call that it is in."""

from __future__ import annotations

import time

import pytest

from holdfast.actors.runtime.status_board import (
    BOARD_SIZE,
    StatusBoard,
    StatusBoardReader,
)


def test_a_report_that_is_too_large_is_dropped_and_the_last_one_stays() -> None:
    """`report` returns False, counts the report, and readers see the previous one."""
    memory = bytearray(BOARD_SIZE)
    board = StatusBoard(memoryview(memory))
    assert board.report({"a": 1})
    assert not board.report({"a": "x" * BOARD_SIZE})
    assert board.oversized == 1
    assert StatusBoardReader(memoryview(memory)).report() == {"a": 1}


def test_a_board_counts_progress_over_all_incarnations() -> None:
    """The count continues with each new board on the memory, with the last instant."""
    memory = bytearray(BOARD_SIZE)
    for _ in range(3):
        before = time.monotonic_ns()
        StatusBoard(memoryview(memory)).progress()
    count, instant = StatusBoardReader(memoryview(memory)).progress()
    assert count == 3
    assert before <= instant <= time.monotonic_ns()


@pytest.mark.parametrize("name", ["read_state", "", "é" * 40])
def test_a_board_shows_the_call_that_runs_and_the_next_incarnation_runs_none(name: str) -> None:
    """A name that is too long is cut; progress stays as it is."""
    memory = bytearray(BOARD_SIZE)
    board, reader = StatusBoard(memoryview(memory)), StatusBoardReader(memoryview(memory))
    board.progress()
    board.calls("a call before it")
    board.calls(name)
    assert name.startswith(reader.call().rstrip("\ufffd")) and bool(reader.call()) is bool(name)
    assert reader.progress()[0] == 1
    StatusBoard(memoryview(memory))
    assert reader.call() == ""
