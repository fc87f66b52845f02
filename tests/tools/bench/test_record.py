"""The benchmark of recording runs, and what it recorded is whole."""

from __future__ import annotations

import pytest

from holdfast.tests.tools.bench.reports import report_of


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_benchmark_has_the_ticks_of_both_and_a_whole_dataset_of_each_robot() -> None:
    """Ticks with and without recording, and per robot the recorder's cost and rows."""
    report = report_of("record", "--quick", timeout_s=400)
    cases = [row["case"] for row in report["rows"]]
    assert (
        cases
        == ["holdfast/ticks/no recording", "holdfast/ticks/h264"] + ["holdfast/recorder/h264"] * 2
    )
    for row in report["rows"][:2]:
        assert row["n"] > 100
        assert {"missed", "machine", "p99"} <= set(row)
    for row in report["rows"][2:]:
        assert row["whole"] == 1
        assert row["rows"] > 10
        assert row["p50"] > 0
