"""The fleet benchmark: what its figures are made of, and that it runs."""

from __future__ import annotations

import argparse
import time
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.tests.tools.bench.reports import report_of
from holdfast.tools.bench.fleet import header_us, interval_s, row_of
from holdfast.tools.bench.fleet_cost import cost_of, memory_of
from holdfast.tools.bench.fleet_load import PATIENCE_S, ForkedRobots, LoadReport
from holdfast.tools.bench.fleet_report import aims, plot, text
from holdfast.tools.bench.fleet_robot import RobotConfig
from holdfast.tools.bench.fleet_site import Used, UsedIdle

BEGAN = Used(
    at_s=100.0,
    cpu_s=1.0,
    wakes=1000,
    requests=50,
    replies=50,
    errors=0,
    replays=0,
    batches=Counter({"4": 10}),
    broker_mb=20.0,
    replica_mb=30.0,
    placed=[2, 2],
)
ENDED = msgspec.structs.replace(
    BEGAN,
    at_s=110.0,
    cpu_s=2.2,
    wakes=1600,
    requests=250,
    replies=250,
    batches=Counter({"4": 50, "8": 5}),
)


def load(*latencies_ms: list[float], **more: Any) -> LoadReport:
    """What one process measured; its load kept its rate."""
    given: dict[str, Any] = {
        "latencies_ms": list(latencies_ms),
        "late_ms": 1.0,
        "ticks": 600,
        "due": 600,
        "sent": 280,
        "failed": 0,
        "stalled": 0,
        "cpu_s": 2.0,
        **more,
    }
    return LoadReport(**given)


def row(*reports: LoadReport) -> dict[str, Any]:
    options = argparse.Namespace(replicas=2, batch=8, service_ms=50.0)
    return row_of(4, options, UsedIdle(0.02, 20.0), BEGAN, ENDED, list(reports))


def test_the_brokers_idle_time_is_not_a_messages() -> None:
    """800 messages in 1.2 s of CPU and 600 turns, less 0.2 s and 200 of a broker without robots."""
    # 280 + 280 of robots, 200 replies, 40 heartbeats of replicas.
    found = row(load([10.0], [12.0]), load([20.0], [30.0]))
    assert found["messages"] == 800
    assert found["us_message"] == pytest.approx(1e6 / 800)
    assert found["wakes_message"] == pytest.approx(400 / 800)
    assert found["ms_request"] == pytest.approx(1200 / 200)
    assert found["requests_per_s"] == 20 and found["load"] == pytest.approx(20 / 320, abs=1e-3)
    assert found["batch"] == pytest.approx(200 / 45, abs=0.01)


def test_fairness_is_the_slowest_robots_p99_over_the_fastests() -> None:
    """A robot without a chunk has no p99: it is counted as starved."""
    found = row(load([10.0, 10.0], []), load([20.0], [30.0]))
    assert found["fairness"] == found["fairness_p90"] == 3.0 and found["starved"] == 1
    assert "1 of them got no chunk" in text(reported(found))


def test_the_report_has_how_far_apart_robots_are_by_chance() -> None:
    """Beside the fairness, which is judged with it in view."""
    random = [float(1 + k * 7 % 20) for k in range(40)]
    found = {**row(load(random[:20], random[20:])), "load": 0.8}
    chance = found["dealt_fairness"]
    assert found["fairness"] == 1.0 and 1.0 <= chance < 1.1
    said = text(reported(found) | {"aims": aims([found])})
    assert f"met (the latencies of the 4 robots dealt at random: {chance:g})" in said
    header, line = (each.split() for each in said.splitlines()[:2])
    assert header.count("dealt") == 2 and f"{chance:.2f}" in line


def test_robots_that_are_placed_unevenly_are_reported() -> None:
    """One more at one of two replicas is as even as an odd number allows."""
    found = row(load([10.0], [12.0]))
    for placed, uneven in (([2, 2], False), ([3, 2], False), ([3, 1], True), ([], False)):
        said = text(reported({**found, "placed": placed}))
        assert ("on the replicas: those" in said) == uneven
    assert "4 robots: 3, 1 on the replicas" in text(reported({**found, "placed": [3, 1]}))


def test_a_load_that_was_late_says_that_its_figures_are_not_the_sites() -> None:
    """Late at p99 by more than half a tick, or with ticks left out: fairness is then not judged."""
    for fault in ({"late_ms": 20.0}, {"ticks": 500}):
        found = row(load([10.0], [12.0], **fault))
        assert not found["kept"]
        assert "DID NOT KEEP ITS RATE" in text(reported(found))
    assert row(load([10.0], [12.0]))["kept"]


def test_robots_ask_at_least_as_often_as_with_the_default_buffer() -> None:
    """And at most once a tick: one robot cannot ask for as much as 300."""
    assert interval_s(300, 200) == pytest.approx(50 / 30 - 0.5)
    assert interval_s(100, 256) == pytest.approx(100 / 256)
    assert interval_s(1, 256) == pytest.approx(1 / 30)


def test_fairness_is_judged_near_the_load_of_the_aim_only() -> None:
    """Of rows whose load kept its rate; the cost of a request is that of the largest fleet."""
    loaded = {**row(load([10.0] * 20, [12.0] * 20)), "load": 0.8}
    few = {**row(load([10.0], [90.0])), "robots": 2, "load": 0.8}
    small = {**loaded, "robots": 1, "fairness": 9.0, "load": 0.1, "us_message": 100.0}
    late = {**loaded, "robots": 3, "fairness": 9.0, "kept": False}
    found = {aim["aim"]: aim for aim in aims([small, late, few, loaded])}
    assert found["fairness at 80 % load, slowest over fastest robot's p99"]["found"] == 1.2
    assert found["broker CPU per request with 4 robots, ms"]["found"] == loaded["ms_request"]
    spread = found["broker CPU per message, wake-ups in it, most over least"]
    assert spread["found"] == pytest.approx(loaded["us_message"] / 100, abs=0.01)


@given(
    st.just(0.0) | st.floats(1, 500),
    st.just(0.0) | st.floats(1, 500),
    st.lists(st.floats(0.05, 2), min_size=3, max_size=8),
)
def test_the_costs_of_a_wake_up_and_of_a_message_are_told_apart(
    us_wake: float, us_each: float, wakes: list[float]
) -> None:
    """Where rows are made of both they are found again, and fit; never is one negative."""
    rows = [{"wakes_message": w, "us_message": us_wake * w + us_each} for w in wakes]
    cost = cost_of(rows)
    if cost is None:
        assert us_wake + us_each == 0
        return
    assert cost["us_wake"] >= 0 and cost["us_each"] >= 0
    assert cost["off"] == pytest.approx(1, abs=0.01)
    if max(wakes) - min(wakes) > 0.1:
        assert cost["us_wake"] == pytest.approx(us_wake, abs=0.2)
        assert cost["us_each"] == pytest.approx(us_each, abs=0.2)


@given(st.lists(st.tuples(st.floats(-0.1, 2), st.floats(1, 1e4)), min_size=1, max_size=8))
def test_a_cost_is_said_of_three_fleets_or_more(found: list[tuple[float, float]]) -> None:
    """However badly it fits: `off` says so."""
    cost = cost_of([{"wakes_message": w, "us_message": us} for w, us in found])
    assert (cost is None) == (len(found) < 3)
    if cost is not None:
        assert min(cost["us_wake"], cost["us_each"]) >= 0 and cost["off"] >= 1


def test_the_report_says_what_a_wake_up_and_a_message_cost() -> None:
    """It has the share of a core without robots, too."""
    rows = [{**row(load([10.0], [12.0])), "us_message": us} for us in (100.0, 150.0, 200.0)]
    rows = [{**each, "wakes_message": w} for each, w in zip(rows, (0.5, 1.0, 1.5), strict=True)]
    report = {**reported(rows[0]), "rows": rows, "cost": cost_of(rows), "aims": aims(rows)}
    assert "0.020 of a core without robots, and with them 100 µs a wake-up and 50 µs a message" in (
        text(report)
    )
    met = {aim["aim"]: aim["met"] for aim in report["aims"]}
    assert met["broker CPU over its wake-ups' and messages' cost, most over least"]
    assert not met["broker CPU per message, wake-ups in it, most over least"]


def test_the_report_says_how_far_from_the_floor_the_broker_is() -> None:
    """Beside each aim that a broker that decides nothing may miss too."""
    rows = [
        {**row(load([10.0], [12.0])), "robots": robots, "us_message": us, "broker_mb": mb}
        | {"floor_us_message": us / 2, "floor_ms_request": 0.2}
        for robots, us, mb in ((1, 200.0, 20.0), (101, 100.0, 25.0))
    ]
    report = reported(rows[0]) | {"rows": rows, "aims": aims(rows), "kb_robot": memory_of(rows)}
    said = text(report)
    assert "most over least: 2, aim 1.2: missed (a broker that decides nothing: 2)" in said
    assert "aim 0.15: missed (a broker that decides nothing: 0.2)" in said
    assert "50 kB of private memory a robot" in said and "reading a header: 1.5 µs" in said
    assert memory_of(rows[:1]) is None and header_us() > 0


def test_the_report_is_drawn(tmp_path: Path) -> None:
    """`plot` writes a PNG."""
    pytest.importorskip("matplotlib")
    plot(reported(row(load([10.0], [12.0]))), tmp_path / "fleet.png")
    assert (tmp_path / "fleet.png").read_bytes()[1:4] == b"PNG"


@pytest.mark.parametrize("serving", [False, True])
def test_the_processes_of_robots_end_by_themselves_when_the_load_is_closed(
    serving: bool, tmp_path: Path
) -> None:
    """Before they have robots and after; none has to be killed."""
    load = ForkedRobots(3)
    if serving:
        for k, pipe in enumerate(load._pipes):
            pipe.send(
                [RobotConfig(name=f"r{k}", front=f"ipc://{tmp_path}/none", buffer_time_s=1.0)]
            )
    load.close()
    assert [process.exitcode for process in load._processes] == [0, 0, 0]


def test_the_load_is_waited_for_as_long_as_it_measures() -> None:
    """However much longer than an answer takes: two minutes here, and the time for the answer."""
    waited_s = []

    class Pipe:
        def send(self, _: object) -> None:
            pass

        def poll(self, patience_s: float) -> bool:
            waited_s.append(patience_s)
            return False

    load = ForkedRobots(0)
    load._pipes = [Pipe()]  # type: ignore[list-item]
    with pytest.raises(RuntimeError, match="does not answer within"):
        load.measured(time.monotonic_ns() + 120 * 1_000_000_000)
    assert waited_s[0] > 60 + 2 * PATIENCE_S


def reported(found: dict[str, Any]) -> dict[str, Any]:
    return {
        "bench": "fleet",
        "machine": {"cpus": 2},
        "rows": [found],
        "cost": None,
        "us_header": 1.5,
        "kb_robot": None,
        "aims": aims([found]),
    }


@pytest.mark.slow
def test_robots_of_two_processes_are_served_by_a_real_broker() -> None:
    """Every robot gets chunks; requests, messages, CPU time and memory are counted."""
    words = ("--robots", "3", "--replicas", "1", "--seconds", "2", "--service-ms", "20")
    (found,) = report_of("fleet", *words, timeout_s=400)["rows"]
    assert found["robots"] == 3 and found["starved"] == 0
    assert found["n"] > 0 and 20 <= found["p50"] <= found["p99"] <= found["max"]
    assert found["messages"] > found["n"] and found["ms_request"] > 0
    assert found["broker_mb"] > 1 and found["replica_mb"] > 1 and found["placed"] == [3]
    assert found["floor_us_message"] > 0 and found["floor_ms_request"] > 0
