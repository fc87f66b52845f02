"""The benchmark of a request runs: every process of its way, and the floors beside it."""

from __future__ import annotations

from holdfast.tests.tools.bench.reports import report_of


def test_a_request_through_shared_memory_is_measured_with_real_processes() -> None:
    """Every floor is there; request and reply are small, as the pixels do not travel."""
    only = ("-n", "25", "--only", "holdfast/shm", "floor/pipe-shm")
    found = report_of("request", *only, timeout_s=400)
    rows = {row["case"]: row for row in found["rows"]}
    floors = {"echo-direct", "echo", "echo-three", "memcpy", "jpeg", "pipe-shm"}
    floors |= {"echo-raw", "echo-three-raw"}
    assert set(rows) == {"holdfast/shm", *(f"floor/{name}" for name in floors)}
    for row in rows.values():
        assert row["n"] == 25
        assert 0 < row["p50"] <= row["p95"] <= row["p99"] <= row["max"]
    path = rows["holdfast/shm"]
    assert path["p50"] > rows["floor/memcpy"]["p50"]
    assert path["cpu_ms"] > 0
    assert path["failed"] >= 0
    # References only: the pixels of one camera alone are 921600 bytes.
    assert 0 < path["request_bytes"] < 20_000
    assert 50 * 14 * 4 * 2 < path["reply_bytes"] < 20_000
