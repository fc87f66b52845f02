"""What `actorctl status` draws, on the terminals that people have."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from holdfast.tools.tables import live_screen, screen


def row(name: str, last_exit: str | None) -> dict[str, Any]:
    return {
        "name": name,
        "kind": "inference",
        "state": "STARTING",
        "pid": 12345,
        "restarts": 12,
        "uptime_s": 5000.0,
        "progress_age_s": 0.02,
        "memory_mb": 1234.5,
        "last_exit": last_exit,
        "last_error": None,
        "reason": "",
    }


def robot(name: str, state: str) -> dict[str, Any]:
    return {
        "name": name,
        "state": state,
        "reason": "",
        "tick_lateness_us": {},
        "request_latency_ms": {},
        "plan_s": 1.0,
        "missed_ticks": 0,
        "missed_ticks_machine": 0,
        "stalled_ticks": 0,
        "stale_dropped": 0,
        "dropped": {},
        "successes": None,
        "episodes": 0,
    }


def drawn(
    width: int, *rows: dict[str, Any], robots: Sequence[dict[str, Any]] = (), height: int = 0
) -> list[str]:
    status = {
        "fleet": "f",
        "healthy": True,
        "uptime_s": 1.0,
        "witness": None,
        "actors": list(rows),
        "robots": list(robots),
    }
    console = Console(file=io.StringIO(), width=width)
    console.print(live_screen(status, "a hint", height) if height else screen(status))
    return console.file.getvalue().splitlines()  # type: ignore[attr-defined]


def test_on_80_columns_a_long_last_exit_gives_way_and_nothing_else() -> None:
    said = "exited with status 1 while it was being asked to do something else"
    lines = drawn(80, row("pick/0", said), row("r1/overhead", None))
    (line,) = [line for line in lines if line.startswith("pick/0")]
    assert line.startswith("pick/0       inference  STARTING  12345        12  83 min    0.02 s  ")
    assert line.rstrip().endswith("…") and len(line) <= 80
    assert any("restarts" in line and "progress" in line for line in lines)
    assert len(lines) == 5, "a row is a line"


@given(
    actors=st.lists(st.sampled_from(("READY", "BACKOFF")), min_size=1, max_size=40),
    robots=st.lists(st.sampled_from(("STREAMING", "STALLED")), max_size=40),
    height=st.integers(10, 40),
)
def test_a_live_view_fits_the_terminal_and_shows_first_what_is_not_well(
    actors: list[str], robots: list[str], height: int
) -> None:
    rows = [row(f"a{i}", None) | {"state": state} for i, state in enumerate(actors)]
    lines = drawn(
        100, *rows, robots=[robot(f"r{i}", state) for i, state in enumerate(robots)], height=height
    )
    assert len(lines) <= height
    assert lines[-1] == "a hint"
    table = [line for line in lines if line.startswith("a") and "inference" in line]
    ill = [line for line in table if "BACKOFF" in line]
    assert len(ill) == min(actors.count("BACKOFF"), len(table)), "the ill ones before the well"
    whole = len(table) == len(actors) and sum(line.startswith("r") for line in lines) > len(robots)
    assert whole or any("more: `actorctl status`" in line for line in lines)
