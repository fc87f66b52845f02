"""docs/troubleshooting.md has a row for each reason that a person may meet."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from holdfast.actors.control.plan import Drop
from holdfast.actors.driver.core import CommandDrop
from holdfast.robot.command_limits import Refusal
from holdfast.tests.peers.environments import ROOT
from holdfast.tests.source import Source

GUIDE = (ROOT / "docs/troubleshooting.md").read_text()
HANDSHAKES, KEYS, REQUESTS = (
    "Handshakes that are refused",
    "Keys that do not enrol",
    "Requests that fail",
)
MADE_BY = {
    "Reject": HANDSHAKES,
    "Decision": HANDSHAKES,
    "EnrolmentRefusal": KEYS,
    "Error": REQUESTS,
    "WireError": REQUESTS,
}
"""Calls whose `reason`, or first argument, is one, and the table with its row."""
ANSWERED = (
    "actors/inference",
    "actors/network/request_sender.py",
    "transport/arrays.py",
    "transport/images.py",
    "transport/messages.py",
    "transport/nesting.py",
    "transport/outbox.py",
)
"""Where a WireError becomes the ERROR that a robot gets; those made elsewhere are counted."""
COUNTED = {"no-session", "robot", "stale-epoch"}
"""Reasons for which a replica drops a message whose sender expects no answer."""
WRITERS = {"array-dtype", "image-quality", "image-shape", "kind"}
"""What a caller of the codec does wrong before anything is sent, and messages of other kinds."""


def listed() -> dict[str, set[str]]:
    """The reasons with a row, by the heading of their table."""
    found = {}
    for section in re.split(r"^## ", GUIDE, flags=re.MULTILINE)[1:]:
        firsts = re.findall(r"^\| (.*?) \|", section, re.MULTILINE)
        found[section.partition("\n")[0]] = set(re.findall(r"`([a-z_-]+)`", " ".join(firsts)))
    return found


def made_in(path: Path) -> Iterator[tuple[str, str]]:
    """The reasons that a module makes, each after the heading of its table."""
    source, place = Source(path), str(path.relative_to(ROOT))
    for kind, heading in MADE_BY.items():
        if kind == "WireError" and not place.startswith(ANSWERED):
            continue
        for call in source.calls(kind):
            given = [k.value for k in call.keywords if k.arg == "reason"] or call.args
            if kind == "Decision":
                if ast.unparse(call.args[0]) != "Disposition.REFUSE":
                    continue
                given = call.args[1:]
            for reason in source.words(given[0]):
                yield heading, reason


def emitted() -> dict[str, set[str]]:
    """The reasons of refused handshakes, failed requests and keys, wherever they are made."""
    found: dict[str, set[str]] = {HANDSHAKES: set(), KEYS: set(), REQUESTS: set()}
    for folder in ("actors/broker", "actors/inference", "actors/network", "transport"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            for heading, reason in made_in(path):
                found[heading].add(reason)
    found[REQUESTS] -= COUNTED | WRITERS
    return found


def test_every_reason_of_a_refused_handshake_or_request_has_a_row() -> None:
    """A new one needs a row that says what to do, in the table of what it does."""
    found = emitted()
    # In turn: literals, one of two, a local name, given to functions, returned, of a decision.
    assert {"no-replica", "moved", "draining", "state-order", "task"} <= found[HANDSHAKES]
    assert "epoch-jump" in found[HANDSHAKES]
    # In turn: given to a function, of an error that is answered, composed, of the codec.
    assert {"uplink-limit", "expired", "state-history-shape", "blob-bytes"} <= found[REQUESTS]
    rows = listed()
    assert {heading: reasons - rows[heading] for heading, reasons in found.items()} == {
        heading: set() for heading in found
    }


def test_every_reason_of_a_dropped_answer_or_command_has_a_row() -> None:
    """The members of the enumerations that count them."""
    rows = set().union(*listed().values())
    assert {str(each) for kind in (Drop, CommandDrop, Refusal) for each in kind} - rows == set()
