"""What the actors of a host recorded of a request, as the spans of one trace. Pure.

Trace and span ids follow from (session, seq), which names one request of all runs: the actors of
all hosts, and a second export of the same records, give the same ids, and parents are right without
a word between them. The tree of a request:

    request             control: from its observation to the first action played
      network           its network actor: from the broker's side of asking to the answer
        broker          the broker: from the request to passing on the answer
          replica       a replica; after a replay there are two
            queue, inference, answer

Where the request came straight to the replica, that is below `network`, and the broker has no span,
or one that begins later, if it was asked too.

Instants are Unix ns by the clock of the host that took them, durations are by its monotonic clock.
Between hosts nothing is corrected: where their clocks differ, a child seems to begin before its
parent, or after it.
"""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec

_NS = 1_000_000_000
_MS = 1_000_000

Line = dict[str, Any]
"""A line of an audit."""
Request = tuple[int, int]
"""(session, seq)."""


class Span(msgspec.Struct, frozen=True, kw_only=True):
    """One span. `process`: the actor. `error`: why it failed; empty if it did not. `events`: (name,
    Unix ns)."""

    trace_id: int
    span_id: int
    parent_id: int | None
    name: str
    process: str
    start_ns: int
    end_ns: int
    attributes: dict[str, str | int | float | bool] = {}
    events: tuple[tuple[str, int], ...] = ()
    error: str = ""


def trace_id(session: int, seq: int) -> int:
    """The id of the trace of a request, 128 bits."""
    return _id(16, session, seq, "trace")


def span_id(session: int, seq: int, part: str) -> int:
    """The id of a part of that trace, 64 bits."""
    return _id(8, session, seq, part)


def _id(size: int, session: int, seq: int, part: str) -> int:
    text = f"{session}/{seq}/{part}".encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=size).digest()) or 1


def of_request(line: Line, played: tuple[int, int] | None) -> Span:
    """The root: of a network actor's `line`, and when the observation was made and the chunk's
    first action `played` (Unix ns), if one was."""
    begin_ns, end_ns = _network_times(line)
    if played is not None:
        begin_ns, end_ns = min(played[0], begin_ns), max(played[1], end_ns)
    return _span(
        line,
        "request",
        None,
        f"{line['robot']}/control",
        begin_ns,
        end_ns,
        {"robot": line["robot"], "episode": line["episode"], "played": played is not None},
        events=() if played is None else (("first action", played[1]),),
        error="" if line["outcome"] == "reply" else line["outcome"],
    )


def of_network(line: Line) -> Span:
    """What a robot's network actor recorded."""
    ages = {f"frame_age_s.{name}": age for name, age in line["frame_age_s"].items()}
    about = {"robot": line["robot"], "replica": line["replica"] or "", **ages}
    error = "" if line["outcome"] == "reply" else line["outcome"]
    times = _network_times(line)
    return _span(line, "network", "request", f"{line['robot']}/network", *times, about, error=error)


def of_broker(line: Line) -> Span:
    """What the broker recorded. `failed`: the replicas that died or hung with the request."""
    end_ns = _at_ns(line)
    about = {"robot": line["robot"], "replica": line["replica"]}
    if line["failed"]:
        about["failed"] = ", ".join(line["failed"])
    error = "" if line["outcome"] == "reply" else line["outcome"]
    begin_ns = end_ns - round(line["held_ms"] * _MS)
    return _span(line, "broker", "network", "broker", begin_ns, end_ns, about, error=error)


def of_replica(line: Line, replica: str) -> list[Span]:
    """What the `replica` recorded: itself and its parts."""
    end_ns, error = _at_ns(line), line["error"] or ""
    own, above = f"replica {replica}", "network" if line.get("direct") else "broker"
    if "queue_ms" not in line:  # the device did not take it
        return [_span(line, own, above, replica, end_ns, end_ns, {}, error=error)]
    about = {
        key: line[key]
        for key in ("batch", "late", "superseded", "delay_steps", "prefix_steps", "task")
    }
    about |= {f"tag.{key}": value for key, value in line["tags"].items()}
    parts = [(part, round(line[f"{part}_ms"] * _MS)) for part in ("queue", "inference", "answer")]
    begin_ns = end_ns - sum(took_ns for _, took_ns in parts)
    spans = [_span(line, own, above, replica, begin_ns, end_ns, about, error=error)]
    for part, took_ns in parts:
        name = f"{part} {replica}"
        spans.append(_span(line, name, own, replica, begin_ns, begin_ns + took_ns, {}))
        begin_ns += took_ns
    return spans


def _span(
    line: Line,
    part: str,
    parent: str | None,
    process: str,
    start_ns: int,
    end_ns: int,
    attributes: dict[str, Any],
    events: tuple[tuple[str, int], ...] = (),
    error: str = "",
) -> Span:
    session, seq = line["session"], line["seq"]
    return Span(
        trace_id=trace_id(session, seq),
        span_id=span_id(session, seq, part),
        parent_id=None if parent is None else span_id(session, seq, parent),
        name=part.partition(" ")[0],
        process=process,
        start_ns=start_ns,
        end_ns=end_ns,
        attributes={"session": str(session), "seq": seq, **attributes},
        events=events,
        error=error,
    )


def _network_times(line: Line) -> tuple[int, int]:
    end_ns = _at_ns(line)
    return end_ns - round(line["latency_s"] * _NS), end_ns


def _at_ns(line: Line) -> int:
    return round(float(line["at"]) * _NS)
