"""The benchmark of recording runs, and what it recorded is whole."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

ARGV = [sys.executable, "-m", "holdfast.tools.bench.record", "--json", "--quick"]


@pytest.mark.slow
def test_the_benchmark_has_the_ticks_of_both_and_a_whole_dataset_of_each_robot() -> None:
    """Ticks with and without recording, and per robot the recorder's cost and rows."""
    out = subprocess.run(ARGV, capture_output=True, text=True, check=True, timeout=100)
    report = json.loads(out.stdout)
    assert report["bench"] == "record"
    cases = [row["case"] for row in report["rows"]]
    assert (
        cases
        == ["holdfast/ticks/no recording", "holdfast/ticks/h264"] + ["holdfast/recorder/h264"] * 2
    )
    for row in report["rows"][:2]:
        assert row["n"] > 300
        assert {"missed", "machine", "p99"} <= set(row)
    for row in report["rows"][2:]:
        assert row["whole"] == 1
        assert row["rows"] > 50
        assert row["p50"] > 0
