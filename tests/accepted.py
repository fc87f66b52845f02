"""The terms of a session, for tests to which most of them do not matter."""

from __future__ import annotations

from typing import Any

import msgspec

from holdfast.transport.bodies import Accept

_TERMS = Accept(
    session="s",
    replica="pick/0",
    model="m",
    revision="1",
    checkpoint="c",
    chunk_size=8,
    fps=30.0,
    action_names=("a",),
    cameras={},
)


def accept(**changes: Any) -> Accept:
    """An ACCEPT with `changes` of its fields."""
    return msgspec.structs.replace(_TERMS, **changes)
