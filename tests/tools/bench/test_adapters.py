"""The benchmark of the adapters runs, and says which peers are absent."""

from __future__ import annotations

import argparse
import itertools
import sys
from pathlib import Path
from typing import Any

import pytest

from holdfast.tests.peers.environments import interpreter_of
from holdfast.tests.tools.bench.reports import report_of
from holdfast.tools.bench import adapters


def measured(*words: str) -> dict[str, Any]:
    """The report of the benchmark."""
    report = report_of("adapters", "-n", "20", *words, timeout_s=400)
    for row in report["rows"]:
        assert row["n"] == 20 and row["unit"] == "ms"
        assert 0 < row["p50"] <= row["p99"] <= row["max"]
    return report


def cases(report: dict[str, Any]) -> dict[str, Any]:
    return {row["case"]: row for row in report["rows"]}


def test_a_case_whose_peer_is_absent_is_skipped_by_name() -> None:
    """The others are measured; the reason names the option that mends it."""
    report = measured("--lerobot-python", sys.executable, "--openpi-python", sys.executable)
    rows = cases(report)
    groot = {"floor/groot", "holdfast/groot-port", "holdfast/groot"}
    assert set(rows) == {"floor/own", "holdfast/own", *groot}
    assert rows["holdfast/groot-port"]["over"]["case"] == "floor/groot"
    over = rows["holdfast/own"]["over"]
    assert over["case"] == "floor/own"
    assert over["p50"] == pytest.approx(
        rows["holdfast/own"]["p50"] - rows["floor/own"]["p50"], abs=0.001
    )
    skipped = {each["case"]: each["why"] for each in report["skipped"]}
    assert set(skipped) == {
        *("holdfast/lerobot-call", "holdfast/lerobot"),
        *("holdfast/openpi-port", "holdfast/openpi"),
    }
    assert "--lerobot-python" in skipped["holdfast/lerobot"]
    assert "openpi_client" in skipped["holdfast/openpi"]


def test_a_case_that_fails_is_counted_in_its_row_and_the_others_are_measured(
    tmp_path: Path,
) -> None:
    """One request of a case, and every one of another."""
    calls = itertools.count(1)

    def sometimes() -> float:
        if next(calls) == 20:
            raise TimeoutError("no answer within 5 s")
        return 2.0

    def never() -> float:
        raise RuntimeError("a request failed: the service is full")

    bench = adapters.Bench(argparse.Namespace(), tmp_path)
    asked = {"floor/own": sometimes, "holdfast/own": never, "floor/groot": lambda: 1.0}
    floor, own, other = bench.measured(asked, 20)
    assert (floor["n"], floor["failed"], floor["why"]) == (19, 1, "no answer within 5 s")
    assert (own["n"], own["failed"]) == (0, 5) and "the service is full" in own["why"]
    assert "over" not in own and other["n"] == 20 and "failed" not in other
    report = {"rows": [floor, own, other], "skipped": [], "machine": {}}
    assert "failed 5, why a request failed: the service is full" in adapters._text(report)


def test_openpis_own_client_is_measured_at_the_port_and_at_a_bare_server() -> None:
    """Both adapters of openpi cost more than the bare server."""
    report = measured("--only", "openpi", "--openpi-python", str(interpreter_of("openpi")))
    rows = cases(report)
    adapters = {"holdfast/openpi-port", "holdfast/openpi"}
    assert set(rows) == {"floor/openpi", "holdfast/service", *adapters}
    assert {name for name, row in rows.items() if "over" in row} == adapters
    assert not report["skipped"]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_library_of_lerobot_is_measured_in_its_interpreter() -> None:
    """Alone, through the adapter's class alone, and through the whole system."""
    report = measured("--only", "lerobot", "--lerobot-python", str(interpreter_of("lerobot-0.6")))
    rows = cases(report)
    assert set(rows) == {"floor/lerobot", "holdfast/lerobot-call", "holdfast/lerobot"}
    assert rows["holdfast/lerobot"]["over"]["case"] == "floor/lerobot"
    assert not report["skipped"]
