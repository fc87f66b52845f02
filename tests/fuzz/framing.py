"""The committed messages as one string of bytes each, and back."""

from __future__ import annotations

import json
from pathlib import Path

import holdfast

ROOT = Path(holdfast.__file__).parent
GOLDEN = ROOT / "tests" / "transport" / "golden"


def golden() -> list[list[bytes]]:
    """The committed messages of version 1."""
    texts = (path.read_text() for path in sorted(GOLDEN.glob("*.json")))
    return [[bytes.fromhex(frame) for frame in json.loads(text)["frames"]] for text in texts]


def pack(frames: list[bytes]) -> bytes:
    """Several frames as one string of bytes, each after its length in two bytes."""
    return b"".join(len(frame).to_bytes(2, "little") + frame for frame in frames)


def unpack(data: bytes) -> list[bytes]:
    """The inverse of `pack` for any bytes: lengths beyond the end are cut."""
    frames, at = [], 0
    while at + 2 <= len(data):
        size = int.from_bytes(data[at : at + 2], "little")
        frames.append(data[at + 2 : at + 2 + size])
        at += 2 + size
    return frames
