"""An evaluation on disk."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from holdfast.errors import EvaluationError
from holdfast.tests.tools.evaluation.evaluations import ended, finished, plan, steps
from holdfast.tools.evaluation.evaluation_folder import EvaluationFolder


def test_what_is_valid_is_done_and_the_rest_is_ahead(tmp_path: Path) -> None:
    """In the plan's order, also when it is opened again."""
    folder = EvaluationFolder.create(tmp_path / "e", plan(3))
    first, second, *rest = folder.plan.slots()
    folder.add(ended(second, success=True), steps(0.1))
    folder.add(ended(first, success=False, valid=False, reason="killed"), None)
    again = EvaluationFolder.open(tmp_path / "e")
    assert again.plan == folder.plan and again.ahead() == [first, *rest]
    kept = again.steps(second.number)
    assert kept is not None and np.array_equal(kept.actions, steps(0.1).actions)
    assert again.steps(first.number) is None


def test_a_line_that_a_kill_cut_off_is_no_episode(tmp_path: Path) -> None:
    """The next one stands in its place."""
    folder = EvaluationFolder.create(tmp_path / "e", plan(2))
    first, second, *_ = folder.plan.slots()
    folder.add(ended(first, success=True), None)
    with (tmp_path / "e" / "episodes.jsonl").open("ab") as file:
        file.write(b'{"slot": 1, "rob')
    assert [each.slot for each in folder.episodes()] == [0]
    folder.add(ended(second, success=True), None)
    assert [each.slot for each in folder.episodes()] == [0, 1]


def test_nothing_is_overwritten_and_what_is_no_evaluation_is_refused(tmp_path: Path) -> None:
    """Each error says what to do."""
    finished(tmp_path / "e", 1)
    with pytest.raises(EvaluationError, match="--resume"):
        EvaluationFolder.create(tmp_path / "e", plan())
    with pytest.raises(EvaluationError, match="no evaluation was begun"):
        EvaluationFolder.open(tmp_path)
    (tmp_path / "plan.json").write_text("{}")
    with pytest.raises(EvaluationError, match="no plan of an evaluation"):
        EvaluationFolder.open(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(EvaluationError, match="cannot be kept"):
        EvaluationFolder.create(tmp_path / "file" / "e", plan())
