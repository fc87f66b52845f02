"""What the actors recorded of a request becomes the spans of one trace."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.actors.network.executed_log import ExecutedStep
from holdfast.actors.runtime.bounded_file import BoundedFile
from holdfast.actors.telemetry.followed_file import FollowedFile
from holdfast.actors.telemetry.otlp_export import traces_url
from holdfast.actors.telemetry.played_requests import WAIT_S, PlayedRequests
from holdfast.actors.telemetry.request_spans import (
    of_broker,
    of_network,
    of_replica,
    of_request,
    span_id,
    trace_id,
)

AT_S = 1_700_000_000.0
MS = 1_000_000


def network_line(seq: int = 3, **more: Any) -> dict[str, Any]:
    return {
        "at": AT_S,
        "robot": "r1",
        "session": 77,
        "replica": "pick/0",
        "seq": seq,
        "episode": 2,
        "epoch": 1,
        "outcome": "reply",
        "latency_s": 0.050,
        "frame_age_s": {"top": 0.01},
        **more,
    }


def replica_line(**more: Any) -> dict[str, Any]:
    line = {"at": AT_S - 0.004, "session": 77, "seq": 3, "episode": 2, "outcome": "served"}
    cost = {"queue_ms": 5.0, "inference_ms": 30.0, "answer_ms": 1.0, "batch": 4, "late": False}
    about = {"superseded": 0, "delay_steps": 2, "prefix_steps": 9, "task": "pick", "tags": {}}
    return {**line, "error": None, **cost, **about, **more}


def step(seq: int, at_ns: int) -> ExecutedStep:
    return ExecutedStep(
        tick=1,
        at_ns=at_ns,
        late_ns=0,
        episode=2,
        state=[],
        session=77,
        seq=seq,
        step=1,
        observed_ns=at_ns - 100 * MS,
    )


def broker_line(**more: Any) -> dict[str, Any]:
    line = {"at": AT_S - 0.002, "robot": "r1", "session": 77, "replica": "pick/0", "seq": 3}
    return {
        **line,
        "episode": 2,
        "epoch": 1,
        "outcome": "reply",
        "held_ms": 45.0,
        "failed": [],
    } | more


def test_every_process_of_a_request_is_in_one_trace_and_below_the_one_that_asked_it() -> None:
    """Each actor derives the ids by itself, so that hosts need not exchange them."""
    played = (round(AT_S * 1e9) - 60 * MS, round(AT_S * 1e9) + 20 * MS)
    root, network = of_request(network_line(), played), of_network(network_line())
    broker, (replica, *parts) = of_broker(broker_line()), of_replica(replica_line(), "pick/0")
    spans = [root, network, broker, replica, *parts]
    assert {span.trace_id for span in spans} == {trace_id(77, 3)}
    assert len({span.span_id for span in spans}) == 7
    chain = [(root, None), (network, root), (broker, network), (replica, broker)]
    assert all(s.parent_id == (p.span_id if p else None) for s, p in chain)
    assert [s.parent_id for s in parts] == [replica.span_id] * 3
    assert [s.name for s in parts] == ["queue", "inference", "answer"]
    assert [s.process for s in spans[:4]] == ["r1/control", "r1/network", "broker", "pick/0"]
    for inner, outer in [(network, root), (broker, network), (replica, broker)]:
        assert outer.start_ns <= inner.start_ns < inner.end_ns <= outer.end_ns
    ends = [replica.start_ns, *(s.end_ns for s in parts)]
    assert [s.start_ns for s in parts] == ends[:3] and ends[3] == replica.end_ns


def test_a_request_that_two_replicas_had_has_a_span_of_each() -> None:
    """After a replay; the broker's span names the one that failed."""
    first, second = (of_replica(replica_line(), name)[0] for name in ("pick/0", "pick/1"))
    assert first.span_id != second.span_id and first.parent_id == second.parent_id
    assert of_broker(broker_line(failed=["pick/1"])).attributes["failed"] == "pick/1"


def test_a_request_that_failed_is_an_error() -> None:
    """With its reason, in every process that knows it."""
    assert of_network(network_line(outcome="unanswered")).error == "unanswered"
    (refused,) = of_replica({**replica_line(error="late"), "queue_ms": 0} | {}, "p/0")[:1]
    assert refused.error == "late"
    line = {k: v for k, v in replica_line(error="state: nan").items() if not k.endswith("_ms")}
    (span,) = of_replica(line, "pick/0")
    assert span.error == "state: nan" and span.start_ns == span.end_ns


@given(st.integers(0, 2**64), st.integers(0, 2**63), st.sampled_from(["network", "broker"]))
def test_ids_fit_and_are_never_zero(session: int, seq: int, part: str) -> None:
    """As the protocol demands: 128 bits and 64."""
    assert 0 < trace_id(session, seq) < 1 << 128
    assert 0 < span_id(session, seq, part) < 1 << 64


@pytest.mark.parametrize("step_first", [True, False])
def test_a_request_ends_with_the_first_action_of_its_chunk(*, step_first: bool) -> None:
    """Whichever of the two files is read first; later steps of the chunk change nothing."""
    requests, epoch_ns = PlayedRequests(), round(AT_S * 1e9) - 1000 * MS
    found = []
    if step_first:
        found += requests.executed(step(3, 1010 * MS), epoch_ns)
    found += requests.answered(network_line(), 0.0)
    for late_ms in (1010, 1040, 1070):
        found += requests.executed(step(3, late_ms * MS), epoch_ns)
    (root,) = found
    assert root.end_ns == round(AT_S * 1e9) + 10 * MS
    assert root.start_ns == root.end_ns - 100 * MS
    assert root.events == (("first action", root.end_ns),) and root.attributes["played"]
    assert not requests.expire(1e6)


def test_a_chunk_that_is_not_played_ends_with_its_answer() -> None:
    """After some time; a request without an answer at once."""
    requests = PlayedRequests()
    assert not requests.answered(network_line(), 5.0)
    assert not requests.expire(5.0 + WAIT_S / 2)
    (root,) = requests.expire(5.0 + WAIT_S)
    assert not root.attributes["played"] and root.end_ns == round(AT_S * 1e9)
    (failed,) = requests.answered(network_line(seq=4, outcome="error"), 6.0)
    assert failed.error == "error"


def test_a_followed_file_gives_each_line_once_over_its_renamings(tmp_path: Path) -> None:
    """Those from before it was followed are left out."""
    path = tmp_path / "a.jsonl"
    writer = BoundedFile(path, 200)
    writer.append(b'"before"\n')
    followed = FollowedFile(path)
    found = []
    for k in range(100):
        writer.append(msgspec.json.encode(f"line {k}") + b"\n")
        if k % 3 == 0:
            found += followed.read() + followed.read() + followed.read()
    found += followed.read() + followed.read()
    assert found == [msgspec.json.encode(f"line {k}") for k in range(100)]
    writer.close()
    followed.close()


def test_a_file_that_appears_later_is_read_from_its_beginning(tmp_path: Path) -> None:
    """And half a line waits for its other half."""
    followed = FollowedFile(tmp_path / "late.jsonl")
    assert followed.read() == []
    with (tmp_path / "late.jsonl").open("wb", buffering=0) as file:
        file.write(b"one\ntw")
        assert followed.read() == [b"one"]
        file.write(b"o\n")
        assert followed.read() == [b"two"]
    followed.close()


def test_traces_go_to_the_protocols_own_path_unless_one_is_given() -> None:
    """An address without a path gets `/v1/traces`."""
    assert traces_url("http://h:4318") == traces_url("http://h:4318/") == "http://h:4318/v1/traces"
    assert traces_url("https://h/otlp/v1/traces") == "https://h/otlp/v1/traces"
