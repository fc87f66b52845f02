"""Peers that break rules: what is counted, logged and dropped."""

from __future__ import annotations

from holdfast.actors.broker.counters import MAX_PEERS, Counters
from holdfast.actors.broker.effects import Log
from holdfast.actors.broker.quarantine import TOLERATED
from holdfast.errors import WireError
from holdfast.tests.actors.broker.desk import Desk
from holdfast.transport.header import Kind


def test_a_peer_that_keeps_breaking_rules_is_quarantined_for_a_while(desk: Desk) -> None:
    """More than TOLERATED violations start it; other peers are heard."""
    for _ in range(TOLERATED):
        desk.robot("r1:1", Kind.REGISTER)
    assert not desk.routing.ignores(b"r1:1", desk.now_ns)
    desk.routing.malformed(b"r1:1", WireError("frames", ""), desk.now_ns)
    assert desk.routing.ignores(b"r1:1", desk.now_ns)
    assert not desk.routing.ignores(b"r2:1", desk.now_ns)
    assert desk.count("quarantines") == 1
    assert desk.routing.counters.of("r1") == {
        "kind-from-robot": TOLERATED,
        "frames": 1,
        "quarantines": 1,
        "quarantined": 1,
    }
    desk.wait(31)
    assert not desk.routing.ignores(b"r1:1", desk.now_ns)


def test_single_faults_far_apart_start_no_quarantine(desk: Desk) -> None:
    """Violations are counted within a window only."""
    for _ in range(3 * TOLERATED):
        desk.routing.malformed(b"r1:1", WireError("body", ""), desk.now_ns)
        desk.wait(1)
    assert not desk.routing.ignores(b"r1:1", desk.now_ns)


def test_the_counts_by_peer_are_bounded_and_lose_nothing() -> None:
    """Sums by peer equal the counts by reason."""
    counters = Counters()
    for n in range(3 * MAX_PEERS):
        counters.count("body", f"peer{n}")
    rows = counters.worst(10 * MAX_PEERS)
    assert len(rows) <= MAX_PEERS + 1
    assert sum(row["body"] for row in rows.values()) == counters.reasons["body"] == 3 * MAX_PEERS


def test_a_flood_of_one_event_writes_one_line_a_second(desk: Desk) -> None:
    """The next line has the number of those left out."""
    lines = [
        line
        for _ in range(500)
        for line in desk.routing.malformed(b"x:1", WireError("body", ""), desk.now_ns)
    ]
    assert len(lines) == 2, "the rule that was broken, and the quarantine that it led to"
    desk.now_ns += 1_000_000_000
    (line,) = desk.routing.malformed(b"y:1", WireError("body", ""), desk.now_ns)
    assert isinstance(line, Log)
    assert line.suppressed == 499
