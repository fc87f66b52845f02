"""The benchmark of control runs, and its figures have the form that all benchmarks share."""

from __future__ import annotations

import pytest

from holdfast.tests.tools.bench.reports import report_of
from holdfast.tools.bench import control
from holdfast.tools.bench.control import Lateness


def report(part: str) -> dict[str, dict[str, float]]:
    found = report_of("control", "--quick", "--only", part, timeout_s=400)
    for row in found["rows"]:
        assert row["n"] > 0 and row["p50"] <= row["p99"] <= row["max"]
    return {row["case"]: row for row in found["rows"]}


def test_the_cost_of_the_plan_is_measured() -> None:
    """Snapshot, pop and merge take less than ten times their aim."""
    rows = report("cost")
    assert set(rows) == {
        "holdfast/snapshot",
        "holdfast/pop",
        "holdfast/merge-replace",
        "holdfast/merge-blend",
    }
    # The aims are 5 and 100 µs; a machine that others use may be slower, but not by ten times.
    assert rows["holdfast/pop"]["p50"] < 50
    assert rows["holdfast/merge-replace"]["p50"] < 1000


def test_the_lateness_of_several_runs_has_their_spread() -> None:
    """A row has the p99 of each run with its quartiles, and n and maximum of all of them."""
    runs = [Lateness([1.0] * 99 + [late] * 2, late + 5, machine=1) for late in (10.0, 30.0, 20.0)]
    row = control._lateness_row("holdfast/clock", runs)
    assert row["n"] == 303 and row["machine"] == 3 and row["raw_max"] == 35.0
    assert row["p99_by_run"] == [10.0, 30.0, 20.0]
    assert row["p99_quartiles"] == [15.0, 20.0, 25.0]
    assert "p99_by_run" not in control._lateness_row("holdfast/clock", runs[:1])


@pytest.mark.slow
def test_the_lateness_is_measured_idle_and_busy_in_each_run() -> None:
    """At the rate and with the ticks that were asked for; what the machine took is counted."""
    few = ("--only", "lateness", "--hz", "500", "--ticks", "30", "--runs", "2")
    rows = {row["case"]: row for row in report_of("control", *few, timeout_s=400)["rows"]}
    assert {"holdfast/clock-500hz-idle", "holdfast/clock-500hz-busy"} <= set(rows)
    for row in rows.values():
        assert row["n"] + row["machine"] == 60


@pytest.mark.slow
def test_a_killed_loop_is_replaced_sooner_with_a_spare_than_without() -> None:
    """The median gap between commands is shorter with a warm spare."""
    rows = report("takeover")
    spare, cold = rows["holdfast/kill-to-command-spare"], rows["holdfast/kill-to-command-cold"]
    assert spare["p50"] < cold["p50"]
