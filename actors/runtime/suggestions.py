"""`closest`: a suggestion for a name that does not exist."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def closest(name: str, known: Iterable[str]) -> str:
    """`did you mean 'x'?` when a known name is similar, else the list of the known ones.

    >>> closest("pik", ["pick", "place"])
    "did you mean 'pick'?"
    """
    known = list(known)
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    if near:
        return f"did you mean {near[0]!r}?"
    return f"expected one of: {', '.join(known)}" if known else "there is none"
