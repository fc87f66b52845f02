"""Ranges of bytes of a file, as RFC 9110 (section 14) has them. Pure.

One range is answered. Several in one request, another unit than bytes, and what does not fit the
grammar are answered with the whole file, as the RFC allows (14.2: "A server MAY ignore the Range
header field").
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from ...errors import UnsatisfiableError

_SPEC = re.compile(r"(?:(\d+)-(\d*)|-(\d+))")


def wanted(headers: Mapping[str, str], size: int, tag: str) -> range | None:
    """The positions that a GET with these headers asks for, of a file of `size` bytes whose strong
    entity tag is `tag`; None: all of it. Raises UnsatisfiableError."""
    said = headers.get("range")
    if said is None:
        return None
    # 13.1.5: of another version than the client has a part of, it needs the whole file. A date is
    # no strong validator of a file that may change twice in a second.
    if headers.get("if-range", tag) != tag:
        return None
    unit, _, specs = said.partition("=")
    # A list may have empty elements (5.6.1.2).
    listed = [each for part in specs.split(",") if (each := part.strip(" \t"))]
    if unit.strip().lower() != "bytes" or len(listed) != 1:
        return None
    match = _SPEC.fullmatch(listed[0])
    if match is None:
        return None
    first, last, suffix = match.groups()
    if suffix is not None:
        found = range(max(size - int(suffix), 0), size)
    elif last and int(last) < int(first):
        return None
    else:
        found = range(int(first), min(int(last), size - 1) + 1 if last else size)
    if not found:
        raise UnsatisfiableError(said)
    return found
