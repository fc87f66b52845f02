"""The benchmark of a cut link: its figures, its link, and the loops that it is about."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from holdfast.tests.peers.environments import interpreter_of
from holdfast.tests.tools.bench.reports import report_of
from holdfast.tools.bench.link_proxy import LinkProxy
from holdfast.tools.bench.peers.robot_log import RobotLog
from holdfast.tools.bench.played import Cut, commands_of, figures_of, idle_ticks
from holdfast.tools.bench.stutter_report import markdown, plot

PERIOD_S = 0.1


def log_of(*lines: tuple[str, float]) -> str:
    return "\n".join(f"{what} {round(at_s * 1e9)}" for what, at_s in lines)


def test_an_action_is_late_by_what_it_is_played_after_the_tick_that_it_was_meant_for() -> None:
    """So many periods after its observation as its place; one that is repeated is not new."""
    log = log_of(
        ("seen 1", 1.0), ("played 1 0", 1.0), ("played 1 1", 1.1), ("played 1 1", 1.2),
        ("seen 2", 1.2), ("played 1 2", 1.9),
    )  # fmt: skip
    found = commands_of(log, PERIOD_S)
    assert [round(command.at_s, 3) for command in found] == [1.0, 1.1, 1.9]
    assert [round(command.late_s, 3) for command in found] == [0.0, 0.0, 0.7]


def test_a_cut_is_judged_by_gap_stale_actions_and_recovery() -> None:
    """Idle ticks count until the recovery; what is played too late after the cut is stale."""
    log = log_of(
        ("seen 1", 1.0),
        *((f"played 1 {step}", 1.0 + step * PERIOD_S) for step in range(5)),
        ("played 1 5", 3.1),
        ("seen 2", 3.1),
        ("played 2 1", 3.3),
        ("played 2 2", 3.4),
    )
    commands = commands_of(log, PERIOD_S)
    found = figures_of(commands, Cut(begin_s=1.05, end_s=3.0, until_s=3.45), PERIOD_S)
    assert found["longest_gap_ms"] == pytest.approx(1700.0)
    assert found["stale"] == 1
    assert found["recovery_s"] == pytest.approx(0.3)
    assert found["idle_ticks"] == 16 + 1
    never = figures_of(commands[:6], Cut(1.05, 3.0, 3.45), PERIOD_S)
    assert never["recovery_s"] is None
    assert idle_ticks(commands, 1.0, 1.4, PERIOD_S) == 0


def test_what_the_fake_robot_logs_is_what_the_figures_read(tmp_path: Path) -> None:
    """A number of an observation and a step of its chunk travel as joints."""
    robot = RobotLog(str(tmp_path / "log"))
    first = robot.see()
    second = robot.see()
    robot.play([second[0], 3.0, 0.0])
    [command] = commands_of((tmp_path / "log").read_text(), PERIOD_S)
    assert first[0] != second[0]
    assert command.at_s >= command.observed_s


def test_a_cut_link_passes_nothing_and_a_mended_one_what_has_waited() -> None:
    """In both directions, in order; connections that are made meanwhile come about later."""
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        LinkProxy(server.getsockname()[1]) as link,
    ):
        near = socket.create_connection(("127.0.0.1", link.port))
        far, _ = server.accept()
        near.sendall(b"a")
        assert far.recv(1) == b"a"
        link.cut()
        near.sendall(b"b")
        later = socket.create_connection(("127.0.0.1", link.port))
        far.settimeout(0.2)
        with pytest.raises(TimeoutError):
            far.recv(1)
        link.mend()
        far.settimeout(30)
        assert far.recv(1) == b"b"
        far.sendall(b"c")
        near.settimeout(30)
        assert near.recv(1) == b"c"
        server.settimeout(30)
        server.accept()[0].close()
        for each in (near, far, later):
            each.close()


def test_the_report_says_why_a_loop_is_missing_and_draws_the_others(tmp_path: Path) -> None:
    """A loop that never recovered is said to, not averaged."""
    log = log_of(("seen 1", 1.0), *((f"played 1 {s}", 1 + s / 10) for s in range(20)))
    commands, cut = commands_of(log, PERIOD_S), Cut(1.5, 2.0, 3.0)
    figures = figures_of(commands, cut, PERIOD_S)
    row = {"case": "a/loop", "n": 1, "idle_before_per_s": 0.0}
    rows = [
        {**row, **{key: [value] for key, value in figures.items()}},
        {"case": "another/loop", "n": 0, "why": "no Python 3.12"},
    ]
    machine = {"cpu": "x86_64", "cpus": 2, "kernel": "6", "load": 0.1}
    text = markdown({"rows": rows, "machine": machine, "date": "2026-01-02", "cut_s": 0.5})
    assert "| a/loop |" in text and "none in 1 of 1" in text
    assert "another/loop: not measured: no Python 3.12" in text
    pytest.importorskip("matplotlib")
    plot({"a/loop": (commands, [cut])}, tmp_path / "cut.png")
    assert (tmp_path / "cut.png").stat().st_size > 5000


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_control_loop_of_ours_and_one_of_a_peer_are_watched_through_a_cut() -> None:
    """Each from its start to a cut of its link: openpi's waits for the link, by its design."""
    folder = interpreter_of("openpi").parents[2]
    words = ("--quick", "--no-install", "--peers", str(folder))
    only = ("holdfast/control", "openpi/action-chunk-broker")
    report = report_of("stutter", *words, "--only", *only, timeout_s=400)
    rows = {row["case"]: row for row in report["rows"]}
    assert set(rows) == set(only)
    for row in rows.values():
        assert row["n"] == 1, row.get("why")
    assert rows["openpi/action-chunk-broker"]["longest_gap_ms"][0] > 500
