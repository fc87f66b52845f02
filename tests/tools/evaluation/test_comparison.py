"""The report: values, Markdown, picture."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import pytest

from holdfast.tests.tools.evaluation.evaluations import ended, finished, plan, steps
from holdfast.tools.cli import evaluate_command
from holdfast.tools.evaluation.comparison import compare
from holdfast.tools.evaluation.comparison_text import markdown
from holdfast.tools.evaluation.evaluation_folder import EvaluationFolder


def test_what_differs_between_two_services_is_in_the_report(tmp_path: Path) -> None:
    """Success, motion and supply of each, and what the difference means."""
    report = compare(finished(tmp_path / "e"))
    better, worse = report["services"]["better"], report["services"]["worse"]
    assert (better["succeeded"], worse["succeeded"], better["tried"]) == (10, 0, 10)
    assert (better["high"], worse["low"]) == (1.0, 0.0)
    difference = report["difference"]
    # Table II of Newcombe 1998, method 10, line (h).
    assert (difference["low"], difference["high"]) == pytest.approx((0.6075, 1.0), abs=1e-4)
    assert difference["sentence"].startswith("better succeeds more often than worse, by 61 to 100")
    for robot in ("r1", "r2"):
        smooth, rough = (s["robots"][robot]["arms"] for s in (better, worse))
        assert rough["left"]["seam_jump"]["p50"] > 0.2 > smooth["left"]["seam_jump"]["p50"]
        assert rough["left"]["sparc"]["p50"] < smooth["left"]["sparc"]["p50"] - 0.2
        assert rough["right"] == smooth["right"], "that arm moved alike"
        assert smooth["left"]["seams"] == 2 * smooth["left"]["seam_jump"]["n"]
    assert worse["counts"]["stalled"] == 30 and worse["episodes_with"]["stalled"] == 10
    assert (better["latency_ms"]["p50"], worse["latency_ms"]["n"]) == (25.0, 20)
    assert report["partial"] == "" and json.dumps(report, allow_nan=False)


def test_a_difference_that_is_not_shown_is_not_claimed(tmp_path: Path) -> None:
    """The sentence says that either may be better, whichever had more successes."""
    folder = EvaluationFolder.create(tmp_path / "e", plan(4))
    for slot in folder.plan.slots():
        won = slot.service == "better" or slot.number > 1
        folder.add(ended(slot, success=won), steps(0.0))
    sentence = compare(folder)["difference"]["sentence"]
    assert "do not show which of better and worse" in sentence and "+25 points" in sentence


def test_a_partial_report_says_so_and_lists_what_was_not_valid(tmp_path: Path) -> None:
    """A report before the first episode is one too."""
    folder = EvaluationFolder.create(tmp_path / "e", plan(3))
    nothing = compare(folder, partial="interrupted")
    assert "nothing can be said" in markdown(nothing, None)
    first = folder.plan.slots()[0]
    folder.add(ended(first, success=False, valid=False, reason="r1/control was killed"), None)
    folder.add(ended(first, success=True), None)
    text = markdown(compare(folder, partial="interrupted"), None)
    assert "**Partial: 1 of 6 episodes** (interrupted)" in text
    assert f"- r1, {first.service}: r1/control was killed" in text
    assert "pip install 'holdfast[plots]'" in text


def test_the_report_is_written_with_a_picture_and_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Markdown names the picture; without matplotlib it says how to get one."""
    folder = finished(tmp_path / "e", 3)
    evaluate_command.write(folder, "")
    picture = cv2.imread(str(tmp_path / "e" / "report.png"))
    assert picture is not None and picture.std() > 5, "something is drawn"
    assert "(report.png)" in (tmp_path / "e" / "report.md").read_text()
    monkeypatch.setattr(evaluate_command, "find_spec", lambda name: None)
    evaluate_command.write(folder, "")
    assert "No picture: matplotlib is not installed" in (tmp_path / "e" / "report.md").read_text()
    assert json.loads((tmp_path / "e" / "report.json").read_text())["done"] == 6


def test_one_service_alone_has_no_difference(tmp_path: Path) -> None:
    """Its rate and interval stand alone."""
    folder = EvaluationFolder.create(tmp_path / "e", plan(2, against=None))
    for slot in folder.plan.slots():
        folder.add(ended(slot, success=True), steps(0.0))
    report = compare(folder)
    assert report["difference"] is None and "# better, on r1, r2" in markdown(report, None)
