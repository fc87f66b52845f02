"""Answers lines of standard input by milliseconds, for `PeerProgram`."""

from __future__ import annotations

import sys
from collections.abc import Callable

# What a library prints is no answer: from the import of this module on it goes elsewhere.
_answers, sys.stdout = sys.stdout, sys.stderr


def serve(timed: Callable[[str], float]) -> None:
    """Say that it is ready, then answer each line by what `timed` gives for it, until the input
    ends."""
    print("ready", file=_answers, flush=True)
    for line in sys.stdin:
        print(timed(line.strip()), file=_answers, flush=True)
