"""What YAML 1.1 makes of plain words that people mean otherwise: on, 1e9, 010, 1:30, 2026-05-01."""

from __future__ import annotations

import datetime as dt
import math
import re
from typing import Any

_OCTAL = re.compile(r"[-+]?0[0-7_]+")
_BASE_60 = re.compile(r"[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?")


def changed(text: str, value: Any) -> str:
    """A sentence when YAML reads the plain `text` as a number that it does not spell; else empty.
    Such a value may fit where it stands, and be another one than was meant."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return ""
    if _OCTAL.fullmatch(text):
        plain = str(int(text.replace("_", "")))
        return f"YAML reads {text} as {value} (octal): write {plain}, or '{text}' in quotes"
    if _BASE_60.fullmatch(text):
        return f"YAML reads {text} as {value} (base 60): write {value}, or '{text}' in quotes"
    return ""


def surprise(text: str, value: Any) -> str:
    """What YAML made of the plain `text`, where a person may not expect it; else empty."""
    if isinstance(value, bool) and text.lower() not in ("true", "false"):
        return f"YAML reads {text} as {str(value).lower()}: write '{text}' in quotes for the word"
    if isinstance(value, dt.date):
        return f"YAML reads {text} as a date: write '{text}' in quotes for text"
    if isinstance(value, str):
        try:
            number = float(text)
        except ValueError:
            return ""
        if not math.isfinite(number):
            return ""
        plain = int(number) if number.is_integer() else number
        return f"YAML reads {text} as text: write {plain}"
    return changed(text, value)
