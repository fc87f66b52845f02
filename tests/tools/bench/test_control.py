"""The benchmark of control runs, and its figures have the form that all benchmarks share."""

from __future__ import annotations

import pytest

from holdfast.tests.tools.bench.reports import report_of


def report(part: str) -> dict[str, dict[str, float]]:
    found = report_of("control", "--quick", "--only", part, timeout_s=110)
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


@pytest.mark.slow
def test_a_killed_loop_is_replaced_sooner_with_a_spare_than_without() -> None:
    """The median gap between commands is shorter with a warm spare."""
    rows = report("takeover")
    spare, cold = rows["holdfast/kill-to-command-spare"], rows["holdfast/kill-to-command-cold"]
    assert spare["p50"] < cold["p50"]
