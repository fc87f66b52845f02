"""Names chosen by patterns, as `encoder.*,!encoder.eyes.*`."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase


def included(name: str, patterns: Sequence[str]) -> bool:
    """Whether the last of the patterns that match `name` has no leading `!`; False where none
    matches."""
    chosen = False
    for pattern in patterns:
        if fnmatchcase(name, pattern.removeprefix("!")):
            chosen = not pattern.startswith("!")
    return chosen
