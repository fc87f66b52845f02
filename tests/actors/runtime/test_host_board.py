"""What the supervisor shows of a host's actors to those that talk to the broker."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from holdfast.actors.runtime.host_board import HOST_BOARD_SIZE, HostBoard, HostBoardReader
from holdfast.transport.bodies import Heartbeat
from holdfast.transport.header import Header, Kind
from holdfast.transport.messages import decode, encode

ROWS = [
    ("witness", "witness", None),
    ("pick/0", "inference", None),
    ("pick/1", "inference", None),
    ("r1/driver", "driver", "r1"),
    ("r2/driver", "driver", "r2"),
    ("gateway", "gateway", None),
]


def rows(actors: Sequence[tuple[str, str, str | None]], text: str = "") -> list[dict[str, object]]:
    """Rows of a status."""
    return [
        {
            "name": name,
            "kind": kind,
            "robot": robot,
            "state": "READY",
            "pid": None,
            "restarts": 3,
            "uptime_s": None,
            "progress_age_s": 0.5,
            "memory_mb": 20.0,
            "last_exit": text,
            "reason": text,
        }
        for name, kind, robot in actors
    ]


@pytest.fixture
def board() -> tuple[HostBoard, HostBoardReader]:
    memory = memoryview(bytearray(HOST_BOARD_SIZE))
    return HostBoard(memory), HostBoardReader(memory)


def test_all_reporters_of_a_host_together_send_every_row_once_or_shared(
    board: tuple[HostBoard, HostBoardReader],
) -> None:
    """A robot's those of its robot, a replica its own, and both those of neither."""
    board[0].write(rows(ROWS))
    sent = {
        "r1": board[1].rows("r1/network", "r1"),
        "pick/1": board[1].rows("pick/1"),
    }
    assert [row.name for row in sent["r1"]] == ["r1/driver", "witness", "gateway"]
    assert [row.name for row in sent["pick/1"]] == ["witness", "pick/1", "gateway"]
    assert sent["r1"][0].restarts == 3 and sent["r1"][0].progress_age_s == 0.5


def test_a_board_that_was_never_written_or_is_damaged_reads_as_empty() -> None:
    """An actor must not fail over what it shows."""
    memory = bytearray(HOST_BOARD_SIZE)
    assert HostBoardReader(memoryview(memory)).rows("r1/network", "r1") == ()
    HostBoard(memoryview(memory)).write(rows(ROWS))
    memory[64:] = b"\xff" * (HOST_BOARD_SIZE - 64)
    assert HostBoardReader(memoryview(memory)).rows("r1/network", "r1") == ()


@given(st.integers(0, 2000), st.integers(0, 1500), st.sampled_from("a\u00e4\u20ac\U0001f916"))
@example(2000, 1500, "\U0001f916")
def test_however_long_the_rows_are_the_board_takes_the_first_of_them(
    count: int, robots: int, character: str
) -> None:
    """In UTF-8 a character has up to 4 bytes; a supervisor must not fail over what it shows."""
    memory = memoryview(bytearray(HOST_BOARD_SIZE))
    actors = [(f"a{k}", "sensor", f"r{k % (robots + 1)}") for k in range(count)]
    HostBoard(memory).write(rows(actors, 150 * character))
    shown = [row.name for row in HostBoardReader(memory).rows("r0/network", "r0")]
    assert shown == [f"a{k}" for k in range(0, count, robots + 1)][: len(shown)]
    assert bool(shown) == bool(count)


@given(st.integers(0, 2000), st.text(max_size=300))
def test_what_a_reporter_sends_is_a_message_within_the_limits(count: int, text: str) -> None:
    """However many actors there are, and whatever their last words were."""
    memory = memoryview(bytearray(HOST_BOARD_SIZE))
    actors = [(f"r1/a{k}", "sensor", "r1") for k in range(count)]
    HostBoard(memory).write(rows(actors, text))
    sent = HostBoardReader(memory).rows("r1/network", "r1")
    assert bool(sent) == bool(count)
    beat = Heartbeat(progress=1, actors=sent)
    body = decode(encode(Header(Kind.HEARTBEAT), beat)).body
    assert msgspec.to_builtins(body) == msgspec.to_builtins(beat)
