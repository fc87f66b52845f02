"""The delay study: methods differ as they are meant to, and a cell can be run again."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from holdfast.tests.peers.environments import importable, interpreter_of
from holdfast.tools.bench.delay import Loop, cell
from holdfast.tools.bench.delay_methods import ALL, STUDIES, Study, studies_of
from holdfast.tools.bench.delay_report import table
from holdfast.tools.bench.delay_scene import CONVEYOR

pytest.importorskip("torch")

FLOW = Study("conveyor-flow", "conveyor", ALL)
METHODS = {method.name: method for method in ALL}


def test_the_shipped_policy_places_the_parcel_without_delay() -> None:
    """No action is dropped at delay 0."""
    method = METHODS["trained"]
    loop = Loop(CONVEYOR, method, method.policy("conveyor-flow"), seed=0, delay=0)
    assert [loop.episode().outcome for _ in range(3)] == ["placed"] * 3
    assert loop.buffer.dropped == {}


def test_a_cell_of_the_table_is_the_same_when_it_is_run_again() -> None:
    """A cell depends on its seeds alone."""
    job = (FLOW, METHODS["time"], 8, 3)
    assert cell(job) == cell(job)


def test_a_chunk_appended_after_the_plan_that_it_should_replace_misses() -> None:
    """Appending succeeds less often than trimming by time."""
    late = cell((FLOW, METHODS["append"], 12, 6))
    timely = cell((FLOW, METHODS["time"], 12, 6))
    assert timely["succeeded"] > late["succeeded"]


def test_a_chunk_that_continues_the_plan_meets_it_with_a_smaller_step() -> None:
    """The seam jump of training-time conditioning is below that of trimming alone."""
    trimmed = cell((FLOW, METHODS["time"], 8, 3))
    continued = cell((FLOW, METHODS["trained"], 8, 3))
    assert 0 < continued["seam_p50"] < trimmed["seam_p50"]


def test_the_table_has_a_line_per_method_and_a_column_per_delay() -> None:
    """Each entry of the success has its interval."""
    row = {
        "succeeded": 9,
        "tried": 10,
        "low": 0.6,
        "high": 0.98,
        "seam_p50": 1.5,
        "score": 0.9,
        "score_error": 0.01,
    }
    rows = [
        {
            "case": f"{study.checkpoint}/{method.name}/{delay}",
            "task": study.task,
            "delay_steps": delay,
            **row,
        }
        for study in STUDIES
        for method in study.methods
        for delay in (0, 8)
    ]
    lines = table({"rows": rows, "episodes": 10}).splitlines()
    tables = 2 * len(STUDIES) + 1  # and the coverage of PushT
    assert len(lines) == 1 + 2 * tables + sum(
        len(study.methods) * (3 if study.task == "pusht" else 2) for study in STUDIES
    )
    assert lines[2].count("60-98") == 2


def test_an_unknown_method_or_a_checkpoint_for_two_tasks_is_refused() -> None:
    """Each error says what there is."""
    with pytest.raises(ValueError, match="there are sync, append, consumed"):
        studies_of(["conveyor"], only=["rtc"])
    with pytest.raises(ValueError, match="is for one --task"):
        studies_of(["conveyor", "pusht"], "conveyor-flow")


@pytest.mark.slow
def test_pusht_is_played_in_the_environment_itself(tmp_path: Path) -> None:
    """An attempt of the shipped policy has an outcome, a coverage and a seam jump."""
    python = interpreter_of("pusht")
    program = """
import json
from holdfast.tools.bench.delay import cell
from holdfast.tools.bench.delay_methods import ALL, STUDIES

(study,) = (study for study in STUDIES if study.task == "pusht")
(method,) = (method for method in ALL if method.name == "time")
print(json.dumps(cell((study, method, 2, 2))))
"""
    done = subprocess.run(
        [python, "-P", "-c", program],
        env={**os.environ, "PYTHONPATH": str(importable(tmp_path))},
        capture_output=True,
        text=True,
        timeout=240,
        check=True,
    )
    row = json.loads(done.stdout)
    assert row["case"] == "pusht-flow/time/2" and row["tried"] == 2
    assert sum(row["outcomes"].values()) == 2
    assert 0 < row["score"] <= 1 and row["seam_p50"] > 0
