"""Names chosen by patterns, as `encoder.*,!encoder.eyes.*`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase


def included(name: str, patterns: Sequence[str]) -> bool:
    """Whether the last of the patterns that match `name` has no leading `!`; False where none
    matches."""
    chosen = False
    for pattern in patterns:
        if fnmatchcase(name, pattern.removeprefix("!")):
            chosen = not pattern.startswith("!")
    return chosen


def unmatched(names: Iterable[str], patterns: Sequence[str]) -> list[str]:
    """Those of the patterns, without a leading `!`, that match none of `names`."""
    there, bare = tuple(names), [pattern.removeprefix("!") for pattern in patterns]
    return [pattern for pattern in bare if not any(fnmatchcase(name, pattern) for name in there)]
