"""What may be asked of the cell, and how an attempt can end."""

from __future__ import annotations

from enum import IntEnum

COLOURS = ("red", "green", "blue", "yellow")
BINS = ("left", "right")


class Outcome(IntEnum):
    """How the last episode ended. Only `PLACED` is a success."""

    NONE = 0
    PLACED = 1
    WRONG_PARCEL = 2
    WRONG_BIN = 3
    DROPPED = 4
    """Let go beside belt and bins."""
    MISSED = 5
    """The parcel rode off the end of the belt."""
    TIMED_OUT = 6


def sentence(colour: int, bin_: int) -> str:
    """The instruction for indices into COLOURS and BINS."""
    return f"put the {COLOURS[colour]} parcel in the {BINS[bin_]} bin"


TASKS = tuple(sentence(c, b) for c in range(len(COLOURS)) for b in range(len(BINS)))
