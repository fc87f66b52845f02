"""The telemetry actor and a collector that is not there."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from holdfast.actors.runtime.actor import boot_in_memory
from holdfast.actors.telemetry import otlp_export, telemetry
from holdfast.actors.telemetry.request_spans import Span
from holdfast.actors.telemetry.telemetry import TelemetryActor
from holdfast.errors import RefusedError
from holdfast.tests.actors.telemetry.test_request_spans import broker_line

SPANS = 6


class Away:
    """A collector that takes nothing until it is there."""

    def __init__(self, *_: object) -> None:
        self.is_there = False
        self.taken: list[Span] = []

    def send(self, spans: list[Span]) -> bool:
        if self.is_there:
            self.taken += spans
        return self.is_there

    def close(self) -> None:
        """Nothing."""


@contextlib.contextmanager
def made(directory: Path) -> Iterator[TelemetryActor]:
    config = {
        "otlp": "http://127.0.0.1:1",
        "fleet": "t",
        "evidence": str(directory),
        "broker": True,
    }
    boot, link, supervisor = boot_in_memory("telemetry", "t", config, {}, rundir=directory)
    actor = TelemetryActor(boot, link)
    yield actor
    actor.resources.close()
    link.close()
    supervisor.close()


@pytest.fixture
def actor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TelemetryActor]:
    monkeypatch.setattr(telemetry, "OtlpExport", Away)
    monkeypatch.setattr(telemetry, "MOST_WAITING", SPANS)
    (tmp_path / "audit").mkdir()
    with made(tmp_path) as actor:
        actor.setup()
        yield actor
        actor.teardown()


def test_spans_wait_for_a_collector_and_the_oldest_are_dropped(
    actor: TelemetryActor, tmp_path: Path
) -> None:
    """They are counted, the reason is in the status, and what waits goes out when it is there."""
    lines = [msgspec.json.encode(broker_line(seq=k)) + b"\n" for k in range(SPANS + 3)]
    (tmp_path / "audit" / "broker.jsonl").write_bytes(b"".join(lines))
    actor._collect(0.0)
    actor._send()
    status: dict[str, Any] = actor._status()
    assert status["waiting"] == SPANS and status["lost"] == 3 and status["sent"] == 0
    assert "http://127.0.0.1:1" in status["reason"]
    assert isinstance(actor._export, Away)
    actor._export.is_there = True
    actor._send()
    status = actor._status()
    assert not status["reason"] and status["sent"] == SPANS and status["waiting"] == 0
    assert [s.attributes["seq"] for s in actor._export.taken] == [*range(3, SPANS + 3)]


def test_an_absent_extra_is_refused_with_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A restart would not help: a person has to."""

    def missing(*_: object) -> None:
        raise ModuleNotFoundError("No module named 'opentelemetry'")

    monkeypatch.setattr(telemetry, "OtlpExport", missing)
    with made(tmp_path) as actor, pytest.raises(RefusedError, match=r"holdfast\[otel\]"):
        actor.setup()
    assert otlp_export.is_installed()
