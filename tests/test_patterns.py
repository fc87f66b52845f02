"""The patterns of names, addresses and the like in configurations, reports and wire bodies."""

from __future__ import annotations

import ast
import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

ROOT = Path(__file__).parents[1]


def patterns() -> Iterator[str]:
    """Those of every `Meta(pattern=...)` of the package, written there or named."""
    for folder in ("actors", "policy", "robot", "tools", "transport"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            if "pattern=" in (text := path.read_text()):
                module = ".".join(("holdfast", *path.relative_to(ROOT).with_suffix("").parts))
                for node in ast.walk(ast.parse(text)):
                    if isinstance(node, ast.keyword) and node.arg == "pattern":
                        yield pattern_of(node.value, module)


def pattern_of(node: ast.expr, module: str) -> str:
    """The text of a literal, or of a name in the module that uses it."""
    if isinstance(node, ast.Name):
        return str(getattr(importlib.import_module(module), node.id))
    return str(ast.literal_eval(node))


FOUND = sorted(set(patterns()))


def test_the_patterns_are_found_where_they_are_written() -> None:
    """In the entries of the fleet's file, the options of cameras, and bodies of messages."""
    for known in (r"^[A-Za-z0-9][A-Za-z0-9_-]{0,31}\Z", r"^[ -~]{4}\Z", r"^[0-9a-f]{16}\Z"):
        assert known in FOUND
    assert len(FOUND) >= 10


@pytest.mark.parametrize("pattern", FOUND)
@settings(max_examples=20)
@given(data=st.data())
def test_no_pattern_takes_a_line_feed_after_what_it_describes(
    pattern: str, data: st.DataObject
) -> None:
    r"""What it takes, it refuses with one: Python's `$` would match before it, `\Z` does not."""
    kind: Any = Annotated[str, msgspec.Meta(pattern=pattern)]
    text = data.draw(st.from_regex(pattern))
    assert msgspec.convert(text, kind) == text
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(f"{text}\n", kind)
