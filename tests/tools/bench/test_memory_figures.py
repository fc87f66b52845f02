"""The benchmark of memory runs a fleet, and its sums are those of its processes."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest


@pytest.mark.slow
def test_the_memory_benchmark_reports_each_kind_of_process_and_what_a_robot_adds() -> None:
    """Shared memory counts once in the sums: they are smaller than all sets together."""
    command = [sys.executable, "-m", "holdfast.tools.bench.memory", "--quick", "--json"]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stderr
    rows = {row["case"]: row for row in json.loads(done.stdout)["rows"]}
    numbers = {"control": 2, "network": 2, "driver": 2, "sensor": 4, "inference": 1, "broker": 1}
    assert {kind: rows[f"holdfast/{kind}"]["n"] for kind in numbers} == numbers
    assert all(rows[f"holdfast/{k}"]["p50"] < rows[f"holdfast/{k}"]["rss"] for k in numbers)
    added_mb = rows["holdfast/fleet-3"]["max"] - rows["holdfast/fleet-2"]["max"]
    assert rows["holdfast/added-robot"]["max"] == pytest.approx(added_mb, abs=0.01)
