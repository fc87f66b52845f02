"""docs/troubleshooting.md has a row for each reason that a person may meet."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from holdfast.actors.control.plan import Drop
from holdfast.actors.driver.core import CommandDrop
from holdfast.robot.command_limits import Refusal
from holdfast.tests.peers.environments import ROOT

GUIDE = (ROOT / "docs/troubleshooting.md").read_text()
FIRST_COLUMN = " ".join(re.findall(r"^\| (.*?) \|", GUIDE, re.MULTILINE))
LISTED = set(re.findall(r"`([a-z_-]+)`", FIRST_COLUMN))
MADE_BY = {"Reject", "Error", "_final", "EnrolmentRefusal"}
"""Calls whose `reason`, or first argument, is one."""


def emitted() -> Iterator[str]:
    """The constant reasons of refused handshakes and failed requests, wherever they are made."""
    for folder in ("actors/broker", "actors/inference", "actors/network"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            tree = ast.parse(path.read_text())
            for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
                name = getattr(call.func, "id", "")
                given = [k.value for k in call.keywords if k.arg == "reason"] or call.args[:1]
                if name in MADE_BY and given:
                    yield from _constants(given[0], tree)


def _constants(value: ast.expr, tree: ast.Module) -> Iterator[str]:
    """The words that `value` may be: a name stands for what is assigned to it in its module."""
    if isinstance(value, ast.Name):
        for node in ast.walk(tree):
            if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == value.id:
                yield from _constants(node.value, tree)
    elif isinstance(value, ast.IfExp):
        yield from _constants(value.body, tree)
        yield from _constants(value.orelse, tree)
    elif isinstance(value, ast.Constant) and re.fullmatch(r"[a-z][a-z_-]*", str(value.value)):
        yield str(value.value)


def test_every_reason_of_a_refused_handshake_or_request_has_a_row() -> None:
    """A new one needs a row that says what to do."""
    found = set(emitted())
    assert {"no-replica", "capacity", "state-order", "superseded", "moved"} <= found
    assert found - LISTED == set()


def test_every_reason_of_a_dropped_answer_or_command_has_a_row() -> None:
    """The members of the enumerations that count them."""
    assert {str(each) for kind in (Drop, CommandDrop, Refusal) for each in kind} - LISTED == set()
