"""docs/troubleshooting.md has a row for each reason that a person may meet."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from holdfast.actors.control.plan import Drop
from holdfast.actors.driver.core import CommandDrop
from holdfast.robot.command_limits import Refusal
from holdfast.tests.peers.environments import ROOT
from holdfast.tests.source import Source

GUIDE = (ROOT / "docs/troubleshooting.md").read_text()
FIRST_COLUMN = " ".join(re.findall(r"^\| (.*?) \|", GUIDE, re.MULTILINE))
LISTED = set(re.findall(r"`([a-z_-]+)`", FIRST_COLUMN))
MADE_BY = ("Reject", "Error", "EnrolmentRefusal")
"""Calls whose `reason`, or first argument, is one."""
ANSWERED = ("observed_images", "robot_memory", "served_session")
"""The modules of actors/inference in which a raised WireError is the answer to a request; elsewhere
the message is dropped and counted."""


def emitted() -> Iterator[str]:
    """The reasons of refused handshakes and failed requests, wherever they are made."""
    for folder in ("actors/broker", "actors/inference", "actors/network"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            source = Source(path)
            for call in source.calls(*MADE_BY):
                given = [k.value for k in call.keywords if k.arg == "reason"] or call.args
                yield from source.words(given[0])
            for call in source.calls("Decision"):
                if ast.unparse(call.args[0]) == "Disposition.REFUSE":
                    yield from source.words(call.args[1])
            raised = {id(n.exc) for n in ast.walk(source.tree) if isinstance(n, ast.Raise)}
            for call in source.calls("WireError") if folder == "actors/inference" else ():
                if path.stem in ANSWERED or id(call) not in raised:
                    yield from source.words(call.args[0])


def test_every_reason_of_a_refused_handshake_or_request_has_a_row() -> None:
    """A new one needs a row that says what to do."""
    found = set(emitted())
    # In turn: literals, one of two, a local name, given to functions, returned, of a decision.
    assert {"no-replica", "moved", "draining", "state-order", "task", "uplink-limit"} <= found
    assert {"stale-frame", "policy", "epoch-jump"} <= found
    # Of a WireError: raised, made in another function, kept for later, formatted.
    assert {"image-missing", "shm-overwritten", "resting", "state-history-shape"} <= found
    assert found - LISTED == set()


def test_every_reason_of_a_dropped_answer_or_command_has_a_row() -> None:
    """The members of the enumerations that count them."""
    assert {str(each) for kind in (Drop, CommandDrop, Refusal) for each in kind} - LISTED == set()
