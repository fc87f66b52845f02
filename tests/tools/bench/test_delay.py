"""The delay study: methods differ as they are meant to, and a cell can be run again."""

from __future__ import annotations

import pytest

from holdfast.robot.sim.task import Outcome
from holdfast.tools.bench.delay import METHODS, Loop, cell, table

pytest.importorskip("torch")

FLOW = {method.name: method for method in METHODS["conveyor-flow"]}


def test_the_shipped_policy_places_the_parcel_without_delay() -> None:
    """No action is dropped at delay 0."""
    method = FLOW["trained"]
    loop = Loop(method, method.policy("conveyor-flow"), seed=0, delay=0)
    assert [loop.episode() for _ in range(3)] == [Outcome.PLACED] * 3
    assert loop.buffer.dropped == {}


def test_a_cell_of_the_table_is_the_same_when_it_is_run_again() -> None:
    """A cell depends on its seeds alone."""
    job = ("conveyor-flow", FLOW["time"], 8, 3)
    assert cell(job) == cell(job)


def test_a_chunk_appended_after_the_plan_that_it_should_replace_misses() -> None:
    """Appending succeeds less often than trimming by time."""
    late = cell(("conveyor-flow", FLOW["append"], 12, 6))
    timely = cell(("conveyor-flow", FLOW["time"], 12, 6))
    assert timely["succeeded"] > late["succeeded"]


def test_the_table_has_a_line_per_method_and_a_column_per_delay() -> None:
    """Each entry has the interval of its success."""
    row = {"succeeded": 9, "tried": 10, "low": 0.6, "high": 0.98}
    rows = [
        {"case": f"{checkpoint}/{method.name}/{delay}", "delay_steps": delay, **row}
        for checkpoint, methods in METHODS.items()
        for method in methods
        for delay in (0, 8)
    ]
    lines = table({"rows": rows, "episodes": 10}).splitlines()
    assert len(lines) == 2 + sum(map(len, METHODS.values()))
    assert lines[1].count("60-98") == 2
