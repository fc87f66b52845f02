"""A damaged or wrong report of an actor affects its own values and nothing else."""

from __future__ import annotations

import io
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from holdfast.actors.broker.routing import Routing
from holdfast.actors.embedding.service_list import offers
from holdfast.actors.gateway.events import between
from holdfast.actors.gateway.metrics import Exposition
from holdfast.actors.gateway.status_history import StatusHistory
from holdfast.actors.gateway.status_stream import StatusStream
from holdfast.actors.runtime.actor import Actor, boot_in_memory
from holdfast.actors.runtime.configs import BrokerConfig
from holdfast.actors.runtime.status_board import BOARD_SIZE, StatusBoard, StatusBoardReader
from holdfast.actors.supervision import report, report_reader
from holdfast.actors.supervision.health import failing, unhealthy, unready, warnings
from holdfast.actors.supervision.notes import Weight, notes
from holdfast.actors.supervision.report import ActorFacts
from holdfast.actors.supervision.supervised import ActorRecord, ActorState
from holdfast.tools.cli import services
from holdfast.tools.cli.inspection import _carried, _carried_elsewhere
from holdfast.tools.cli.tables import live_screen, screen
from holdfast.tools.cli.view import _lines

KINDS = {
    "broker": "broker",
    "r1/control": "control",
    "r1/network": "network",
    "r1/driver": "driver",
    "r1/wrist": "sensor",
    "pick/0": "inference",
    "r2/executed": "executed",
    "witness": "witness",
    "own": "somewhere:Own",
}
WIDTHS = (60, 140)
QUANTILES = {"p50": 1.0, "p99": 2.0, "max": 3.0}
SOUND: dict[str, dict[str, Any]] = {
    "broker": {
        **Routing(BrokerConfig(front="inproc://f", back="inproc://b"), "b", 0).status(0),
        "services": [
            {
                "name": "pick",
                "replicas": 1,
                "capacity": 4,
                "load": 0.5,
                "listed": True,
                "cameras": {"top": [96, 72]},
                "action_names": ["x"],
                "chunk_size": 50,
                "fps": 30.0,
                "pin_task": None,
            }
        ],
        "sessions": [
            {
                "robot": "guest",
                "epoch": 3,
                "service": "pick",
                "replica": "pick/0",
                "state": "open",
                "silent_s": 0.2,
                "kind": "script",
                "host": "bench",
                "vitals": {"state": "STREAMING", "steps": 3, "dropped": {"late": 1}, "fps": 30.0},
            }
        ],
        "replicas": [
            {
                "name": "pick/7",
                "service": "pick",
                "sessions": 1,
                "capacity": 4,
                "load": 0.5,
                "progress_age_s": 0.1,
                "draining": False,
                "batch_ms": {"1": 12.5},
                "chunk_s": 1.7,
                "stateful": False,
            }
        ],
    },
    "control": {
        "state": "STREAMING",
        "reason": "",
        "ticks": 100,
        "tick_lateness_us": QUANTILES,
        "tick_lateness_buckets_us": [[16, 90], [32, 100]],
        "dropped": {"late": 2},
        "refused_commands": {"limits": 1},
        "request_latency_ms": {"p50": 30.0, "p99": None},
        "warnings": ["fps 60 on a policy of 30"],
        "refusing_s": 2.0,
        "refusing": "elbow",
        "timing": {"tick": 3},
    },
    "network": {"bytes_in": 3, "bytes_out": 4, "evidence_lost": 2},
    "driver": {"tried": 4, "successes": 3, "task": "stack"},
    "sensor": {"reason": "unplugged", "frames": 30, "frame_age_ms": 12.0},
    "inference": {
        "service": "pick",
        "sessions": ["r1"],
        "max_sessions": 4,
        "capacity": 3,
        "each": {"rate_hz": 1.0, "horizon_s": 1.0, "rtt_s": 0.01},
        "queue": 0,
        "load": 0.3,
        "batch_ms": {"1": 12.5},
        "batches": {"1": 3},
        "inference_ms": QUANTILES,
        "queue_ms": QUANTILES,
        "counts": {"served": 3},
    },
    "executed": {"evidence_lost": 2},
    "witness": {"ticks": 3, "pauses": 1, "oversleep_us": QUANTILES},
    "somewhere:Own": {"evidence_lost": 1, "reason": "its own word"},
}
WORDS = sorted({word for sound in SOUND.values() for word in sound} | {"robot", "name", "phase"})

numbers = st.one_of(st.integers(-(2**63), 2**64 - 1), st.floats(), st.sampled_from([0, 1, 1e308]))
scalars = st.one_of(st.none(), st.booleans(), numbers, st.text(max_size=8), st.binary(max_size=4))
keys = st.one_of(st.sampled_from([*WORDS, "p50", "max", "0", "incarnation"]), st.text(max_size=4))
anything = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=4),
    max_leaves=6,
)


@st.composite
def damaged(draw: st.DrawFn, sound: Any) -> Any:
    """`sound` with one value replaced, at any depth."""
    if isinstance(sound, dict) and sound and draw(st.integers(0, 4)):
        key = draw(st.sampled_from(sorted(sound)))
        return {**sound, key: draw(damaged(sound[key]))}
    if isinstance(sound, list) and sound and draw(st.integers(0, 2)):
        return [*sound[:-1], draw(damaged(sound[-1]))]
    return draw(anything)


def reports_of(kind: str) -> st.SearchStrategy[dict[str, Any] | None]:
    """Reports of an actor of `kind`: often with one wrong value, else any map."""
    sound = SOUND[kind]
    near = damaged(sound).filter(lambda reported: isinstance(reported, dict))
    return st.one_of(near, near, st.dictionaries(keys, anything, max_size=5), st.none())


every_report = st.fixed_dictionaries({name: reports_of(kind) for name, kind in KINDS.items()})


def status(
    reported: dict[str, Any],
    state: ActorState = ActorState.READY,
    robots: tuple[str, ...] = ("r1",),
) -> dict[str, Any]:
    facts = [
        ActorFacts(
            name=name,
            kind=kind,
            robot=None,
            pid=1,
            uptime_s=1.0,
            progress_age_s=0.1,
            memory_mb=1.0,
            last_exit=None,
            last_error=None,
            report=reported[name],
        )
        for name, kind in KINDS.items()
    ]
    actors = {name: ActorRecord(state) for name in KINDS}
    body = report.status("cell", 1.0, facts, actors, robots, None, 0.0)
    return msgspec.json.decode(msgspec.json.encode(body), type=dict[str, Any])


def shown(body: dict[str, Any], width: int, live_width: int) -> None:
    """Make every view of a status; the whole one is drawn at `width`, the live one at another."""
    for ask in (unready, unhealthy, failing, warnings, notes):
        ask(body)
    Console(file=io.StringIO(), width=width).print(screen(body))
    live_screen(body, "hint", 20, width)
    live = live_screen(body, "hint", 20, live_width)
    Console(file=io.StringIO(), width=live_width).print(live)
    list(_lines(body))
    for row in body["actors"]:
        if row["kind"] == "inference":
            carried(_carried(row["report"] or {}))
    for row in body["site"]["replicas"]:
        carried(_carried_elsewhere(row))
    services.text(offers(body) or [])


def carried(row: dict[str, Any]) -> None:
    """Writes the figures as the tables do: each is a number, or its format raises."""
    if row["robots"] is not None:
        [f"{row['load']:.0%}", *(f"{ms:g}" for ms in row["batch_ms"].values())]
    if each := row["each"]:
        [f"{each['rate_hz']:.2g}", f"{each['horizon_s']:.2g}", f"{each['rtt_s'] * 1e3:.0f}"]


@settings(max_examples=40)
@given(st.lists(every_report, min_size=2, max_size=2), st.sampled_from(list(ActorState)))
def test_no_report_of_an_actor_breaks_a_view_of_the_status(
    reports: list[dict[str, Any]], state: ActorState
) -> None:
    """Status, terminal views, dashboard and metrics are made of any reports."""
    stream = StatusStream(None)  # type: ignore[arg-type]
    stream.history = StatusHistory()
    before = None
    for k, reported in enumerate(reports):
        body = status(reported, state)
        shown(body, *(WIDTHS if k else reversed(WIDTHS)))
        list(between(before, body))
        stream.history.see(body, float(k))
        msgspec.json.encode(stream.history.since(float(k)))
        for accept in ("text/plain", "application/openmetrics-text"):
            assert b"holdfast_supervisor_up" in Exposition(stream).render(accept)[0]
        before = body


@given(st.sampled_from(sorted(set(KINDS) - {"own"})), st.data())
def test_a_wrong_report_changes_nothing_about_the_other_actors(
    name: str, data: st.DataObject
) -> None:
    """A damaged report changes its own actor's row, and the robot or site rows made of it, only."""
    sound = {each: SOUND[kind] for each, kind in KINDS.items()}
    whole = status(sound)
    hurt = status({**sound, name: data.draw(reports_of(KINDS[name]))})
    for was, row in zip(whole["actors"], hurt["actors"], strict=True):
        assert row == was or row["name"] == name
    if name not in ("r1/control", "r1/driver"):
        assert hurt["robots"] == whole["robots"]
    if name != "broker":
        assert hurt["site"] == whole["site"]


def test_a_valid_report_is_kept_with_the_fields_that_no_shape_names() -> None:
    """`read` of a valid report reports no misfit and changes no value."""
    for kind, sound in SOUND.items():
        read, misfits = report_reader.read(kind, sound)
        assert misfits == [] and read is not None
        for key in sound.keys() - {"sessions", "replicas", "services"}:
            assert msgspec.json.decode(msgspec.json.encode(read[key])) == sound[key]
    (row,) = report_reader.read("broker", SOUND["broker"])[0]["sessions"]  # type: ignore[index]
    assert row["epoch"] == 3 and row["vitals"]["steps"] == 3 and row["vitals"]["plan_s"] is None


def test_a_field_that_does_not_fit_is_named_and_its_neighbours_are_kept() -> None:
    """A misfit is replaced or dropped by itself, and a note of the status names it."""
    good = SOUND["broker"]["sessions"][0]
    reported = {"sessions": [good, {**good, "silent_s": "long"}, 7, {"service": "pick"}]}
    read, misfits = report_reader.read("broker", reported)
    assert read is not None
    assert [row["silent_s"] for row in read["sessions"]] == [0.2, 0.0]
    assert misfits == ["sessions[1].silent_s", "sessions[2]", "sessions[3]"]
    body = status({**dict.fromkeys(KINDS), "broker": reported})
    (warning,) = [note for note in notes(body) if note.weight is Weight.WARNS]
    assert warning.name == "broker" and "sessions[1].silent_s" in warning.text


@pytest.mark.parametrize(
    "reported", [{"a": msgspec.msgpack.Ext(1, b"x")}, {"a": {(1, 2): 3}}, ["no map"], "text", 7]
)
def test_a_report_that_is_no_json_object_is_replaced_by_the_default(reported: Any) -> None:
    """`read` returns the default report and names the whole report as misfit."""
    read, misfits = report_reader.read("witness", reported)
    assert read == report_reader.unreported("witness") and misfits == ["the whole report"]


@given(st.dictionaries(keys, anything, max_size=4))
def test_a_board_with_any_map_can_be_read_into_the_status(reported: dict[str, Any]) -> None:
    """Whatever map was written to a board, its report can be encoded as JSON."""
    memory = memoryview(bytearray(BOARD_SIZE))
    StatusBoard(memory).report(reported)
    for kind in SOUND:
        msgspec.json.encode(report_reader.read(kind, StatusBoardReader(memory).report()))


class Idle(Actor):
    """Says what its setup does."""

    kind = "idle"
    Config = msgspec.defstruct("Config", [])


@pytest.mark.parametrize("kind", sorted(SOUND))
def test_the_phase_of_a_setup_is_no_wrong_value_of_any_report(kind: str) -> None:
    """An actor that starts again shows its setup beside the last report of the one before."""
    boot, link, supervisor = boot_in_memory("idle", "i", {})
    memory = boot.memory["i/board"]
    StatusBoard(memory).report(SOUND[kind])
    Idle(boot, link).phase("loads the driver")
    shown, misfits = report_reader.read(kind, StatusBoardReader(memory).report())
    assert shown is not None and shown["setup"] == {"incarnation": 1, "phase": "loads the driver"}
    assert misfits == []
    link.close()
    supervisor.close()
