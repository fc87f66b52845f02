"""What a request left behind, in all records of two runs, by (session, seq)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from holdfast.actors.inference.capture import CapturedBatch, read
from holdfast.robot.dataset.dataset_reader import Dataset
from holdfast.tests.e2e.conftest import FleetProcess, row
from holdfast.transport.messages import decode

from .test_recording import LAB

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

FLEET = """
name: joined
services:
  wave: {policy: "lab:Wave", capture_bytes: 60000000}
robots:
  - name: r1
    driver: "lab:Arm"
    service: wave
    fps: 30
    task: wave
    cameras: {top: {driver: "lab:Eye", width: 64, height: 48}}
    record: {root: data/wave}
gateway: {enabled: false}
"""

Key = tuple[int, int]


class Records(NamedTuple):
    """The (session, seq) that each kind of record has."""

    robot: set[Key]
    replica: set[Key]
    captured: set[Key]
    executed: set[Key]


def lines(state: Path, pattern: str) -> Iterator[Key]:
    for path in state.rglob(pattern):
        for text in path.read_text().splitlines():
            line = json.loads(text)
            if line.get("session") and line.get("seq"):
                yield line["session"], line["seq"]


def records(state: Path) -> Records:
    captured = {
        (each.session, decode(list(each.request)).header.seq)
        for path in state.rglob("capture/**/*")
        if path.is_file()
        for record in read(path)
        if isinstance(record, CapturedBatch)
        for each in record.exchanges
    }
    return Records(
        set(lines(state, "audit/r1.network.jsonl*")),
        set(lines(state, "audit/wave.*.jsonl*")),
        captured,
        set(lines(state, "executed/r1.jsonl*")),
    )


def one_run(folder: Path, state: Path) -> None:
    """A fleet that records one episode, from its start to its end."""
    environment = {"HOLDFAST_STATE": str(state)}
    fleet = FleetProcess(folder / "fleet.yaml", folder, environment=environment)
    try:
        fleet.streaming()
        done = fleet.actorctl("episode", "start", "r1")
        assert done.returncode == 0, done.stderr

        fleet.wait_for(lambda s: row(s["robots"], "r1")["recording"]["frames"] >= 60, 60)
        done = fleet.actorctl("episode", "stop", "r1")
        assert done.returncode == 0, done.stderr
        fleet.interrupt()
        assert fleet.wait(60) == 0
    finally:
        fleet.end()


def test_a_request_has_one_name_in_every_record_of_two_runs(tmp_path: Path) -> None:
    """The rows of a dataset lead to the audits, the capture and the executed step of their run."""
    (tmp_path / "fleet.yaml").write_text(FLEET)
    (tmp_path / "lab.py").write_text(LAB)
    runs = []
    for k in range(2):
        one_run(tmp_path, tmp_path / f"state-{k}")
        runs.append(records(tmp_path / f"state-{k}"))
    sessions = [{session for session, _ in run.robot} for run in runs]
    assert sessions[0] and sessions[1]
    assert not sessions[0] & sessions[1], "a session of one run is one of the other"
    dataset = Dataset(tmp_path / "data" / "wave")
    assert len(dataset) == 2
    for k, run in enumerate(runs):
        provenance = dataset.episode(k).column("provenance")
        # A robot whose plan ran out on a busy machine holds: such rows have no request.
        keys = {(int(session), int(seq)) for session, seq, _ in provenance if session > 0}
        assert keys
        assert all(seq > 0 for _, seq in keys)
        for kind, found in run._asdict().items():
            assert keys <= found, f"{keys - found} of the dataset are not in {kind}"
        assert not keys & runs[1 - k].robot
