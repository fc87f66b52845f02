"""The values that several entries of fleet.yaml have in common: names, hosts, spans, sizes."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

NAME = "1 to 32 letters, digits, `-` and `_`"
Name = Annotated[
    str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,31}\Z", description=f"a name of {NAME}")
]

Positive = Annotated[int, Meta(ge=1, le=10**9, description="a whole number, 1 or more")]

Seconds = Annotated[float, Meta(gt=0, le=1e6, description="seconds, more than 0, at most 1000000")]

Bytes = Annotated[int, Meta(ge=0, description="bytes of the newest kept on disk, 0 for none")]

ADDRESS = r"^([^\s/:]+|\[[^\s/]+\])\Z"
"""A name or an IP address; one of IPv6 in brackets."""
Host = Annotated[str | None, Meta(description="a name under `hosts`")]

Python = Annotated[
    str | None,
    Meta(
        description="the interpreter of its process, e.g. ~/lerobot/.venv/bin/python; holdfast has "
        "to be installed there"
    ),
]

DEVICE = r"^(cpu|mps|cuda(:[0-9]+)?)\Z"
Device = Annotated[str, Meta(pattern=DEVICE, description="cpu, cuda, cuda:N or mps")]

Replicas = Annotated[int, Meta(ge=1, le=64, description="processes, 1 to 64")]


def is_name(name: str) -> bool:
    try:
        msgspec.convert(name, Name)
    except msgspec.ValidationError:
        return False
    return True
