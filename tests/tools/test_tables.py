"""What `actorctl status` draws, on the terminals that people have."""

from __future__ import annotations

import io
from typing import Any

from rich.console import Console

from holdfast.tools.tables import screen


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


def drawn(width: int, *rows: dict[str, Any]) -> list[str]:
    status = {
        "fleet": "f",
        "healthy": True,
        "uptime_s": 1.0,
        "witness": None,
        "actors": list(rows),
        "robots": [],
    }
    console = Console(file=io.StringIO(), width=width)
    console.print(screen(status))
    return console.file.getvalue().splitlines()  # type: ignore[attr-defined]


def test_on_80_columns_a_long_last_exit_gives_way_and_nothing_else() -> None:
    said = "exited with status 1 while it was being asked to do something else"
    lines = drawn(80, row("pick/0", said), row("r1/overhead", None))
    (line,) = [line for line in lines if line.startswith("pick/0")]
    assert line.startswith("pick/0       inference  STARTING  12345        12  83 min    0.02 s  ")
    assert line.rstrip().endswith("…") and len(line) <= 80
    assert any("restarts" in line and "progress" in line for line in lines)
    assert len(lines) == 5, "a row is a line"
