"""What `actorctl status` draws, on terminals of several sizes."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from holdfast.tools.cli.tables import live_screen, screen


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
    width: int,
    *rows: dict[str, Any],
    robots: Sequence[dict[str, Any]] = (),
    site: dict[str, Any] | None = None,
    height: int = 0,
) -> list[str]:
    status = {
        "fleet": "f",
        "healthy": True,
        "uptime_s": 1.0,
        "witness": None,
        "actors": list(rows),
        "robots": list(robots),
        "site": site or {"robots": [], "replicas": []},
    }
    file = io.StringIO()
    console = Console(file=file, width=width)
    console.print(live_screen(status, "a hint", height, width) if height else screen(status))
    return file.getvalue().splitlines()


def test_on_80_columns_a_long_last_exit_is_whole_and_nothing_is_cut() -> None:
    """Kind and memory give way; a last exit of more than two lines stands below."""
    last_exit = "exited with status 1 while it was being asked to do something else"
    rows = row("pick/0", last_exit) | {"state": "READY"}, row("r1/overhead", "killed by SIGKILL")
    lines = drawn(80, *rows, robots=[robot("r1", "RECONNECTING")])
    assert all(len(line) <= 80 for line in lines)
    start = next(i for i, line in enumerate(lines) if line.startswith("pick/0"))
    end = next(i for i, line in enumerate(lines) if line.startswith("r1/overhead"))
    assert end == start + 1, "a cell is no tower"
    assert f"pick/0 ended: {last_exit}" in " ".join(line.strip() for line in lines)
    assert lines[start].startswith("pick/0       READY     12345        12  83 min    0.02 s  ")
    assert lines[end].rstrip().endswith("killed by SIGKILL")
    assert any("RECONNECTING" in line for line in lines)
    (live,) = [line for line in drawn(80, *rows, height=20) if line.startswith("pick/0 ")]
    assert "exited with status 1" in live and live.rstrip().endswith("…")


def test_a_wide_terminal_shows_every_column() -> None:
    """The heading has all of them."""
    (head,) = [line for line in drawn(130, row("a", None)) if "actor" in line]
    assert head.split() == [
        *("actor", "kind", "state", "pid", "restarts", "up", "progress", "MB", "last", "exit"),
    ]


def test_the_table_of_a_fleet_without_robots_is_a_sentence() -> None:
    """It names RemotePolicy where there is a broker."""
    broker = row("hub", None) | {"kind": "broker"}
    assert "no robots for this host in fleet.yaml" in "".join(drawn(80, row("a", None)))
    assert "scripts may join, with RemotePolicy" in "".join(drawn(80, broker))
    assert not any("scripts may join" in line for line in drawn(80, robots=[robot("r1", "DOWN")]))


def test_refused_commands_have_a_column_once_there_are_some() -> None:
    """The column has the sum of all reasons."""
    assert not any("refused" in line for line in drawn(100, robots=[robot("r1", "STREAMING")]))
    jumping = robot("r1", "STREAMING") | {"refused_commands": {"range": 40, "step": 2}}
    lines = drawn(100, robots=[jumping])
    assert any("refused" in line for line in lines) and any("42" in line for line in lines)


def test_what_a_robot_sends_has_a_column_where_images_leave_the_host() -> None:
    """With rate, limit, size and quality; none of shared memory."""
    link = {"request_bytes": 45000, "kbps": 312.4, "max_kbps": 400, "jpeg_quality": 72}
    for words, changes in (
        ("312 of 400 kbit/s, 45 kB q72", {}),
        ("312 kbit/s, 45 kB q72", {"max_kbps": 0}),
        ("312 of 400 kbit/s, 45 kB raw", {"jpeg_quality": 0}),
    ):
        sends = robot("r1", "STREAMING") | {"uplink": link | changes}
        assert any(words in line for line in drawn(160, robots=[sends]))
    local = robot("r1", "STREAMING") | {"uplink": link | {"jpeg_quality": 0, "request_bytes": 3000}}
    assert not any("uplink" in line for line in drawn(160, robots=[local]))


def test_the_task_has_a_column_where_there_is_room() -> None:
    """It is cut at the terminal's edge; a narrow one leaves it out."""
    asked = robot("r1", "STREAMING") | {"task": "put the red parcel in the left bin"}
    assert any("put the red parcel in the left bin" in line for line in drawn(120, robots=[asked]))
    (line,) = [line for line in drawn(100, robots=[asked]) if line.startswith("r1")]
    assert "put the red" in line and line.rstrip().endswith("…")
    assert not any("put the red" in line for line in drawn(80, robots=[asked]))
    assert not any("task" in line for line in drawn(120, robots=[robot("r1", "STREAMING")]))


def test_the_tick_shown_is_of_the_recent_window() -> None:
    """The lateness since the start is not shown where the recent one is."""
    moved = robot("r1", "STREAMING") | {
        "tick_lateness_us": {"p99": 9000.0},
        "tick_lateness_recent_us": {"p99": 77.0},
    }
    shown = "\n".join(drawn(100, robots=[moved]))
    assert "77 µs" in shown and "9000" not in shown


def test_robots_and_replicas_of_scripts_have_tables_with_their_place() -> None:
    """A figure that they do not report is a dash."""
    guest = {
        "name": "arm7",
        "where": "script on bench",
        "service": "pick",
        "state": "STALLED",
        "reason": "the network actor fell silent",
        "plan_s": None,
        "fps": 29.5,
        "missed_steps": 3,
        "stalled_steps": 7,
        "refused": 0,
        "dropped": {"expired": 2},
        "latency_ms": {},
        "warnings": ["fps 60 against 30"],
    }
    replica = {
        "name": "pick/lab-12",
        "where": "script",
        "service": "pick",
        "state": "READY",
        "reason": "",
        "sessions": 1,
        "capacity": 8,
        "load": 0.25,
        "progress_age_s": 0.1,
    }
    for width in (80, 120):
        lines = drawn(width, site={"robots": [guest], "replicas": [replica]})
        (line,) = [line for line in lines if line.startswith("arm7 ") and "29.5 Hz" in line]
        assert "script on bench" in line and "STALLED" in line and len(line) <= width
        (line,) = [line for line in lines if line.startswith("pick/lab-12 ")]
        assert line.split()[1:] == ["script", "pick", "READY", "1", "/", "8", "25%", "0.10", "s"]
        text = " ".join(lines)
        assert "arm7 (script on bench): STALLED: the network actor fell silent" in text
        assert "arm7 (script on bench): warning: fps 60 against 30" in text


def test_notes_are_in_the_order_wrong_waiting_warning() -> None:
    """Warnings make nothing unhealthy; the note of a refusing robot has its reason."""
    refusing = robot("r2", "STREAMING") | {
        "refusing_s": 4.0,
        "refusing": "joint elbow: 92.1 is beyond its limit 2.6",
    }
    warned = robot("r1", "STREAMING") | {"warnings": ["fps 60 on a policy of 30"]}
    for height in (0, 40):
        waiting = row("a", None) | {"waits_for": "its setup, 3 s of at most 60 s: loads"}
        failed = row("b", None) | {"state": "FAILED", "reason": "no such camera"}
        lines = drawn(120, waiting, failed, robots=[warned, refusing], height=height)
        text = [line.rstrip() for line in lines if line.startswith(("r1:", "r2:", "a:", "b:"))]
        assert text == [
            "r2: has refused every command for 4 s: joint elbow: 92.1 is beyond its limit 2.6",
            "b: FAILED: no such camera",
            "a: STARTING: waits for its setup, 3 s of at most 60 s: loads",
            "r1: warning: fps 60 on a policy of 30",
        ]


def test_a_live_view_cuts_a_sentence_only_where_there_is_no_room_for_it() -> None:
    """It is whole on a terminal with enough lines."""
    why = (
        "unreachable: nothing answers at tcp://gpu:7447: is the broker running, and the address ok?"
    )
    lost = robot("r1", "RECONNECTING") | {"reason": why}
    roomy = drawn(80, row("a", None), robots=[lost], height=24)
    assert why in " ".join(line.strip() for line in roomy)
    tight = drawn(80, row("a", None), robots=[lost], height=8)
    assert len(tight) <= 8
    assert any(line.startswith("r1: RECONNECTING: unreachable") for line in tight)


@given(
    actors=st.lists(st.sampled_from(("READY", "BACKOFF")), min_size=1, max_size=40),
    robots=st.lists(st.sampled_from(("STREAMING", "STALLED")), max_size=40),
    guests=st.integers(0, 30),
    height=st.integers(10, 40),
)
def test_a_live_view_fits_the_terminal_and_shows_first_what_is_not_well(
    actors: list[str], robots: list[str], guests: int, height: int
) -> None:
    """Never more lines than the terminal; the rows left out are counted."""
    rows = [row(f"a{i}", None) | {"state": state} for i, state in enumerate(actors)]
    replicas = [
        {"name": f"s{i}", "where": "script", "service": "p", "state": "READY", "reason": ""}
        | {"sessions": 0, "capacity": 1, "load": 0.0, "progress_age_s": 0.1}
        for i in range(guests)
    ]
    lines = drawn(
        100,
        *rows,
        robots=[robot(f"r{i}", state) for i, state in enumerate(robots)],
        site={"robots": [], "replicas": replicas},
        height=height,
    )
    assert len(lines) <= height
    assert lines[-1] == "a hint"
    table = [line for line in lines if line.startswith("a") and "inference" in line]
    unwell_rows = [line for line in table if "BACKOFF" in line]
    assert len(unwell_rows) == min(actors.count("BACKOFF"), len(table)), (
        "those that are not READY come first"
    )
    shown = sum(line.startswith("r") and line[1].isdigit() and ":" not in line for line in lines)
    guest_rows = sum(line.startswith("s") and "script" in line for line in lines)
    notes = sum(line.startswith(("a", "r")) and ": " in line for line in lines)
    unwell = actors.count("BACKOFF") + robots.count("STALLED")
    whole = (len(table), shown, guest_rows, notes) == (len(actors), len(robots), guests, unwell)
    assert whole != any("more: `actorctl status`" in line for line in lines)


def test_actors_of_another_interpreter_are_named_below_the_table() -> None:
    """A line for each interpreter; none for the supervisor's own."""
    rows = [row(f"r{k}/driver", None) for k in range(3)]
    rows[0]["python"] = rows[2]["python"] = "/opt/lerobot/bin/python"
    rows[1]["python"] = None
    lines = drawn(100, *rows)
    assert [line for line in lines if "python" in line] == [
        "/opt/lerobot/bin/python runs r0/driver, r2/driver"
    ]
