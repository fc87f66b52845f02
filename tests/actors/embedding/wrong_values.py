"""Arguments that are right, and values that an argument of a kind refuses."""

from __future__ import annotations

import math
from typing import Any

from .conftest import BROKER

NAN = math.nan
MEGABYTE = "pick " * 200_000

ROBOT: dict[str, Any] = {
    "service": "ok",
    "action_names": ["t"],
    "state_names": ["t"],
    "cameras": {},
    "broker": BROKER,
}
NO_TEXT = (None, b"pick", ["pick"], 3)
NO_LABEL = (*NO_TEXT, "", "a b", "a/b", "a:b", "-a", "ä", "a" * 33, "\ud800", MEGABYTE)
NO_NAMES = (None, "neck", b"neck", 3, {"a"}, {"a": 1}, ["a", "a"], [""], [None], ["\ud800"], [b"a"])
NO_RATE = (0, -1, NAN, math.inf, 1001, "30", None, True, [30])
NO_COUNT = (0, -1, 1.5, NAN, "1", None, True)


def identity(case: tuple[str, Any]) -> str:
    return f"{case[0]}={case[1]!r:.24}".encode("ascii", "replace").decode()
