"""`actorctl episode wait`, on a fleet that the test plays."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from holdfast.tools.cli import episode_commands


def status(**reports: dict[str, Any] | None) -> dict[str, Any]:
    """What a fleet answers whose robots' recorders report so."""
    actors = [
        {
            "name": f"{robot}/recorder",
            "kind": "recorder",
            "report": report,
            "state": "READY",
            "reason": "",
        }
        for robot, report in reports.items()
    ]
    return {"status": {"actors": [{"name": "broker", "kind": "broker", "report": None}, *actors]}}


def report(*, done: bool | None, root: str = "data") -> dict[str, Any]:
    return {"root": root, "done": done, "strategy": "records"}


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What the fleet answers, one after the other; the last again and again."""
    given: list[dict[str, Any]] = []
    monkeypatch.setattr(episode_commands, "reach", lambda _: Path())
    monkeypatch.setattr(episode_commands, "_LOOK_S", 0.0)
    monkeypatch.setattr(
        episode_commands, "ask", lambda *_, **__: given.pop(0) if len(given) > 1 else given[0]
    )
    return given


def test_it_waits_for_recorders_that_have_not_reported_yet(answers: list[dict[str, Any]]) -> None:
    """Until all that have a last episode have it; a recorder without one does not count."""
    answers += [
        status(r1=None, r2=None),
        status(r1=report(done=None, root=""), r2=None),
        status(r1=report(done=False), r2=report(done=None)),
        status(r1=report(done=True), r2=report(done=None)),
    ]
    episode_commands.wait()
    assert len(answers) == 1


def test_what_takes_too_long_is_said_with_exit_status_1(
    answers: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    """The strategy's own words say how far it is."""
    answers.append(status(r1=report(done=False)))
    with pytest.raises(SystemExit) as caught:
        episode_commands.wait(timeout_s=0.0)
    assert caught.value.code == 1
    assert capsys.readouterr().err == "r1: records\n"


def test_a_recorder_that_has_failed_ends_the_wait_with_its_reason(
    answers: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit status 1, though the other robot's strategy goes on."""
    given = status(r1=None, r2=report(done=False))
    given["status"]["actors"][1] |= {"state": "FAILED", "reason": "its disk is full"}
    answers.append(given)
    with pytest.raises(SystemExit) as caught:
        episode_commands.wait()
    assert caught.value.code == 1
    assert capsys.readouterr().err == "r1/recorder is FAILED: its disk is full\n"


@pytest.mark.parametrize(
    ("robots", "said"),
    [
        (None, "no robot of this fleet has a strategy with a last episode"),
        (["r1"], "the strategy of r1 has no last episode"),
        (["r7"], "r7 records nothing; those that do: r1"),
    ],
)
def test_what_never_ends_is_refused(
    answers: list[dict[str, Any]],
    capsys: pytest.CaptureFixture[str],
    robots: list[str] | None,
    said: str,
) -> None:
    """Each sentence says which robot."""
    answers.append(status(r1=report(done=None)))
    with pytest.raises(SystemExit) as caught:
        episode_commands.wait(robots)
    assert caught.value.code == 2
    assert said in capsys.readouterr().err
