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
    near = similar(name, known)
    if near is not None:
        return f"did you mean {near!r}?"
    return f"expected one of: {', '.join(known)}" if known else "there is none"


def similar(name: str, known: Iterable[str]) -> str | None:
    """The known name that `name` resembles most; None if it resembles none.

    >>> similar("episods", ["episodes", "home"])
    'episodes'
    """
    return next(iter(difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)), None)
