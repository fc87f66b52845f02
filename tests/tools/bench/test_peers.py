"""The benchmark of the peers: what it checks, what it says of a peer that is absent, its table."""

from __future__ import annotations

import re
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from holdfast.tests.peers.environments import interpreter_of
from holdfast.tests.tools.bench.reports import report_of
from holdfast.tools.bench.failed_requests import IN_A_ROW
from holdfast.tools.bench.peers import __main__ as peers_main
from holdfast.tools.bench.peers import environment, peers_table, turns, work
from holdfast.tools.bench.peers.cases import CASES, Case
from holdfast.tools.bench.peers.measured import Measured, run_program

INSTALL = Path(__file__).parents[2] / "peers" / "install"


def measured(*words: str, timeout_s: float = 240) -> dict[str, dict[str, Any]]:
    """The rows by case, of one round of few requests."""
    report = report_of(
        "peers", "--rounds", "1", "-n", "5", "--apart", "2", *words, timeout_s=timeout_s
    )
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", report["date"]) and report["rounds"] == 1
    return {row["case"]: row for row in report["rows"]}


def test_a_case_is_measured_back_to_back_and_apart() -> None:
    """Each has a row, with its CPU time and the version of what answered."""
    rows = measured("--only", "floor/zeromq", "groot/npy")
    assert set(rows) == {n + w for n in ("floor/zeromq", "groot/npy") for w in ("", "-30ms")}
    for name, row in rows.items():
        assert row["n"] == (2 if name.endswith("-30ms") else 5), row
        assert 0 < row["p50"] <= row["p99"] <= row["max"]
        assert row["cpu_ms"] > 0 and "pyzmq" in row["version"]


def test_a_peer_that_is_absent_is_a_row_that_says_what_is_missing(tmp_path: Path) -> None:
    """With --no-install nothing is downloaded; the others are measured."""
    words = ("--peers", str(tmp_path), "--no-install", "--only", "floor/memcpy", "zenoh/shm")
    rows = measured(*words)
    assert rows["floor/memcpy"]["n"] == 5
    assert rows["zenoh/shm"]["n"] == 0
    assert "eclipse-zenoh==" in rows["zenoh/shm"]["why"]
    assert not list(tmp_path.iterdir())


def test_a_program_that_fails_is_a_row_with_what_it_said_last(tmp_path: Path) -> None:
    """The environment has another interpreter than the program needs."""
    case = Case("peer/none", "no_such_program", "whole", None, 1, "a peer")
    found = Measured(case)
    found.add(lambda: run_program(case, sys.executable, tmp_path, 1, 1))
    [row, _] = found.rows()
    assert row["n"] == 0 and "no_such_program" in row["why"] and "failed" in row


def test_a_request_that_fails_is_counted_and_the_others_are_measured() -> None:
    """An error, and the answer to another request; the row, the table and the note say so."""

    def ask(number: int) -> Any:
        if number == 3:
            raise TimeoutError("no answer within 5 s")
        return work.actions(work.state(number - (number == 5)), work.MARKS)

    turn = turns.turn(turns.AskedPeer(ask, "peer 1"), 8, 0, 0.0)
    assert len(turn["ms"]) == 6 and turn["failed"] == 2 and "other actions" in turn["why"]
    well = {"ms": [1.0] * 8, "cpu_ms": 1.0}
    found = Measured(CASES[0])
    found.add(partial(dict, version="peer 1", back_to_back=well, apart=well))
    found.add(partial(dict, version="peer 1", back_to_back=turn, apart=well))
    row, apart = found.rows()
    assert row["n"] == 14 and row["failed"] == 2 and "failed" not in apart
    text = peers_table.markdown(report(row, apart))
    assert ", 2 failed |" in text
    assert "2 of 16 requests back to back failed, the last: request 5 was answered" in text


def test_a_peer_that_always_fails_is_given_up_and_its_row_says_why() -> None:
    """After a few requests, each of which may have waited for long."""
    asked: list[int] = []

    def ask(number: int) -> Any:
        asked.append(number)
        raise RuntimeError("first line\nthe server is full")

    turn = turns.turn(turns.AskedPeer(ask, "peer 1"), 200, 0, 0.0)
    assert len(asked) == IN_A_ROW == turn["failed"] and turn["ms"] == []
    found = Measured(CASES[0])
    found.add(partial(dict, version="peer 1", back_to_back=turn, apart=turn))
    for row in found.rows():
        assert row["n"] == 0 and row["failed"] == IN_A_ROW
        assert row["why"] == "every request failed: the server is full"
    text = peers_table.markdown(report(*found.rows()))
    assert text.count("not measured: every request failed: the server is full") == 1


@pytest.mark.parametrize(
    ("rows", "status"),
    [([{"n": 5}], 0), ([{"n": 0, "why": "absent"}], 0), ([{"n": 5}, {"n": 4, "failed": 1}], 1)],
)
def test_the_exit_status_says_that_a_request_failed(
    monkeypatch: pytest.MonkeyPatch, rows: list[dict[str, Any]], status: int
) -> None:
    """A peer that is absent is no failure."""
    monkeypatch.setattr(sys, "argv", ["peers", "--json"])
    monkeypatch.setattr(peers_main, "measure", lambda *_: report(*rows))
    monkeypatch.setattr(peers_main, "markdown", lambda _: "")
    assert peers_main.main() == status


def test_the_answer_of_the_work_is_accepted_and_every_other_refused() -> None:
    """Of another request, of mixed-up or damaged pictures, cut, or of another type."""
    images = work.images()
    corners = {name: work.corner(image) for name, image in images.items()}
    right = work.actions(work.state(7), corners)
    work.check(7, right)
    work.check(7, right[2:])  # what is left of a plan
    swapped = {**corners, "left": corners["right"], "right": corners["left"]}
    black = {**corners, "wrist": 0.0}
    wrong = [
        work.actions(work.state(8), corners),
        work.actions(work.state(7), swapped),
        work.actions(work.state(7), black),
        right[:40],
        right[:0],
        right[:, :13],
        right.astype(np.float64),
    ]
    for chunk in wrong:
        with pytest.raises(ValueError, match="request 7"):
            work.check(7, chunk)


def test_requests_that_follow_each_other_have_different_answers() -> None:
    """An answer of one of the last hundreds is seen."""
    seen = {work.state(number).tobytes() for number in range(900)}
    assert len(seen) == 900


def test_the_environments_are_those_that_the_tests_install() -> None:
    """Names and versions agree, so that each finds what the other has made."""
    text = INSTALL.read_text()
    for name, wanted in environment.ENVIRONMENTS.items():
        assert f"[{name}]={wanted.python}" in text
        for package in wanted.packages:
            base, version = re.sub(r"\[.*\]", "", package).split("==")
            assert re.search(rf"{re.escape(base)}(\[[\w,]+\])?=={re.escape(version)}", text), (
                package
            )


def test_the_folder_of_the_environments_is_the_named_one_first(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Then $HOLDFAST_PEERS, then one in the user's cache unless the checkout has one."""
    monkeypatch.setenv("HOLDFAST_PEERS", "/somewhere")
    assert environment.peers_folder(tmp_path) == tmp_path
    assert environment.peers_folder(None) == Path("/somewhere")
    monkeypatch.delenv("HOLDFAST_PEERS")
    monkeypatch.setattr(environment, "ROOT", tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert environment.peers_folder(None) == tmp_path / "holdfast" / "peers"


def report(*rows: dict[str, Any]) -> dict[str, Any]:
    machine = {"cpu": "x86_64", "cpus": 2, "kernel": "6", "python": "3.11", "load": 7.5}
    return {"date": "2026-01-02", "machine": machine, "rounds": 3, "rows": list(rows)}


def test_the_table_says_whence_it_comes_and_why_a_peer_is_not_in_it() -> None:
    """Date, load and n are there; a peer without figures keeps its line."""
    found = Measured(CASES[0])
    for scale in (1.0, 2.0, 3.0):
        turn = {"ms": [scale, scale], "cpu_ms": scale}
        found.add(partial(dict, version="us 1", back_to_back=turn, apart=turn))
    absent = Measured(CASES[4])
    absent.why = "no Python 3.12"
    text = peers_table.markdown(report(*found.rows(), *absent.rows()))
    [ours] = [line for line in text.splitlines() if line.startswith(f"| {CASES[0].shown}")]
    assert ours.startswith(f"| {CASES[0].shown} | 3 | 2.00 ")
    assert ours.count("2.00 (1.50 to 2.50) | 3.00 | 3.00 | 2.00 (1.50 to 2.50)") == 2
    assert f"| {CASES[4].shown} | 2 | - |" in text
    assert f"{CASES[4].shown}: not measured: no Python 3.12" in text
    assert "2026-01-02" in text and "busy with other work (load 7.5)" in text and "n = 6" in text


def test_the_table_takes_the_place_of_the_one_in_a_page() -> None:
    """What stands around it stays; a page without a place is refused."""
    page = f"before\n{peers_table.BEGIN}\nold\n{peers_table.END}\nafter\n"
    assert peers_table.inserted(page, "new\n") == page.replace("old", "new")
    with pytest.raises(ValueError, match="no place"):
        peers_table.inserted("before\nafter\n", "new")


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("name", "cases"),
    [
        ("zenoh", ("zenoh/tcp", "zenoh/shm")),
        ("openpi", ("openpi/websocket",)),
        ("lerobot-0.6", ("lerobot/async",)),
        ("ray", ("ray/actor",)),
    ],
)
def test_an_installed_peer_answers_as_the_work_wants(name: str, cases: tuple[str, ...]) -> None:
    """Its own packages, one round."""
    folder = interpreter_of(name).parents[2]
    rows = measured("--peers", str(folder), "--no-install", "--only", *cases, timeout_s=580)
    for case in cases:
        assert rows[case]["n"] == 5, rows[case].get("why")


@pytest.mark.slow
def test_our_own_service_answers_as_the_work_wants() -> None:
    """Also as JPEG, which leaves the marks legible."""
    rows = measured("--only", "holdfast/jpeg")
    assert rows["holdfast/jpeg"]["n"] == 5, rows["holdfast/jpeg"].get("why")
