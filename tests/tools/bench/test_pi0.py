"""The benchmark of π0 and π0.5, in its smallest form."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from holdfast.tests.peers.environments import interpreter_of
from holdfast.tools.bench import pi0
from holdfast.tools.bench.peers.openpi_files import NETWORK


def report(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *options: str
) -> dict[str, Any]:
    command = ["pi0", "--quick", "--json", "--rounds", "2", "--device", "cpu", *options]
    monkeypatch.setattr("sys.argv", command)
    assert pi0.main() == 0
    printed: dict[str, Any] = json.loads(capsys.readouterr().out)
    return printed


def test_without_the_peers_their_cases_are_left_out_by_name(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ours are measured, and the reasons name the options that give them."""
    monkeypatch.setenv("HOLDFAST_PEERS", "/nonexistent")
    found = report(monkeypatch, capsys)
    assert [row["case"] for row in found["rows"]] == [
        "eager/2v-10s/batch-1",
        "eager/2v-10s/batch-8",
    ]
    assert all(row["n"] == 2 for row in found["rows"])
    *ours, lerobot, openpi = found["left_out"]
    assert ours == ["graph/*: needs a GPU", "float8/*: needs a GPU"]
    assert lerobot.startswith("lerobot/*: ")
    assert "--lerobot-python" in lerobot
    assert openpi == "openpi/*: its model is on no registry: name a checkout by --openpi"


def test_a_folder_that_is_not_openpis_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Before anything is measured, by the file that is missing."""
    with pytest.raises(SystemExit, match="2"):
        report(monkeypatch, capsys, "--openpi", str(tmp_path))
    assert "is no folder of openpi's: it has no src/openpi/" in capsys.readouterr().err


def test_files_of_openpi_that_do_not_run_are_left_out_with_what_they_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Ours are measured nevertheless."""
    python = tmp_path / "python"
    python.write_text(
        "#!/bin/sh\n[ \"$2\" = -c ] && echo '[]' || { echo no torch here >&2; exit 1; }\n"
    )
    python.chmod(0o755)
    (tmp_path / NETWORK).parent.mkdir(parents=True)
    (tmp_path / NETWORK).touch()
    words = ("--openpi", str(tmp_path), "--openpi-python", str(python))
    monkeypatch.setenv("HOLDFAST_PEERS", "/nonexistent")
    found = report(monkeypatch, capsys, *words)
    assert found["left_out"][-1] == "openpi/*: no torch here"
    assert len(found["rows"]) == 2


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
    assert [why.partition("/")[0] for why in found["left_out"]] == ["graph", "float8", "openpi"]


@pytest.mark.slow
def test_openpis_own_files_are_measured_in_turn(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where $HOLDFAST_OPENPI names their folder: each of our rows is related to them."""
    folder = os.environ.get("HOLDFAST_OPENPI")
    if folder is None:
        pytest.skip("needs openpi's files: name their folder by HOLDFAST_OPENPI")
    python = str(interpreter_of("openpi-torch"))
    found = report(monkeypatch, capsys, "--openpi", folder, "--openpi-python", python)
    cases = {row["case"].partition("/")[0]: row for row in found["rows"]}
    low, high = cases["eager"]["of_openpi_p10_p90"]
    assert 0 < low <= cases["eager"]["of_openpi"] <= high
