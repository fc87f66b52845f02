"""`RowRing`: the latest steps in memory, for a recording that begins before it is asked for.

Images are held as JPEG, because seconds of raw ones take gigabytes; what a dataset keeps of them is
compressed again, harder.
"""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from typing import NamedTuple

from ...robot.dataset.recording_schema import Picture, Row
from ...transport.images import decode_jpeg, encode_jpeg

QUALITY = 95
_ROW_BYTES = 512
"""What a row takes beside its images, about."""

Held = tuple[bytes, int, int, int]
"""A JPEG, its width and height, and the instant of its capture."""


class _HeldRow(NamedTuple):
    instant_ns: int
    row: Row
    images: dict[str, Held]
    size: int


class RowRing:
    """At most `span_ns` of steps and `most_bytes` of memory; older ones are dropped."""

    def __init__(self, span_ns: int, most_bytes: int) -> None:
        self._span_ns, self._most_bytes = span_ns, most_bytes
        self._rows: deque[_HeldRow] = deque()
        self._before: dict[str, Held] = {}
        """The newest image of each camera among the dropped rows: the oldest row repeats it."""
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def span_s(self) -> float:
        """How much time is held."""
        rows = self._rows
        return (rows[-1].instant_ns - rows[0].instant_ns) / 1e9 if rows else 0.0

    def add(self, instant_ns: int, row: Row) -> None:
        """Hold a step; its images are encoded."""
        images = {name: _held(*taken) for name, taken in row.images.items() if taken is not None}
        size = _ROW_BYTES + sum(len(data) for data, *_ in images.values())
        self._rows.append(_HeldRow(instant_ns, replace(row, images={}), images, size))
        self.bytes += size
        while self._rows and (
            instant_ns - self._rows[0].instant_ns > self._span_ns or self.bytes > self._most_bytes
        ):
            dropped = self._rows.popleft()
            self._before.update(dropped.images)
            self.bytes -= dropped.size

    def drain(self) -> list[Row]:
        """The rows that are held, the oldest first, with their images; then none is."""
        rows = []
        first = self._before
        for held in self._rows:
            images = {**first, **held.images}
            first = {}
            taken = {name: _picture(image) for name, image in images.items()}
            rows.append(replace(held.row, images=taken))
        self._rows.clear()
        self._before, self.bytes = {}, 0
        return rows


def _held(picture: Picture, instant_ns: int) -> Held:
    height, width, _ = picture.shape
    return encode_jpeg(picture, QUALITY), width, height, instant_ns


def _picture(held: Held) -> tuple[Picture, int]:
    data, width, height, instant_ns = held
    return decode_jpeg(data, width, height), instant_ns
