"""The benchmark of π0 and π0.5, in its smallest form."""

from __future__ import annotations

import json
from typing import Any

import pytest

from holdfast.tests.peers.environments import interpreter_of
from holdfast.tools.bench import pi0


def report(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *options: str
) -> dict[str, Any]:
    command = ["pi0", "--quick", "--json", "--rounds", "2", "--device", "cpu", *options]
    monkeypatch.setattr("sys.argv", command)
    assert pi0.main() == 0
    printed: dict[str, Any] = json.loads(capsys.readouterr().out)
    return printed


def test_without_lerobot_its_cases_are_left_out_by_name(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ours are measured, and the reason names the option that gives an interpreter."""
    monkeypatch.setenv("HOLDFAST_PEERS", "/nonexistent")
    found = report(monkeypatch, capsys)
    assert [row["case"] for row in found["rows"]] == [
        "eager/2v-10s/batch-1",
        "eager/2v-10s/batch-8",
    ]
    assert all(row["n"] == 2 for row in found["rows"])
    assert "--lerobot-python" in found["left_out"][0]


@pytest.mark.slow
def test_lerobots_own_model_is_measured_in_turn(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each of our rows is related to it."""
    python = str(interpreter_of("lerobot-0.6"))
    found = report(monkeypatch, capsys, "--lerobot-python", python)
    cases = {row["case"].partition("/")[0]: row for row in found["rows"]}
    assert cases.keys() == {"eager", "lerobot"}
    assert cases["eager"]["of_lerobot"] > 0
    assert not found["left_out"]
