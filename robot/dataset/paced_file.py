"""`PacedFile`: a file that is read at a bounded rate, so as not to fill the network."""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

_BLOCK_BYTES = 1 << 16


class PacedFile(io.BufferedReader):
    """Reads `path`. Once `pace` was called with a limit, each `read` of a number of bytes returns
    at most 64 KiB, after the time that what was read before may take."""

    def __init__(
        self,
        path: Path,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Any] = time.sleep,
    ) -> None:
        super().__init__(io.FileIO(path, "rb"))
        self._clock, self._sleep = clock, sleep
        self._byte_s = 0.0
        self._due_s = 0.0
        self._pause: Callable[[], Any] | None = None

    def pace(self, mbit_s: float | None, pause: Callable[[], Any] | None = None) -> None:
        """At most `mbit_s` megabits a second; None for no limit. `pause` is called before each
        `read`, and returns when it may go on."""
        self._pause = pause
        self._byte_s = 8 / (mbit_s * 1e6) if mbit_s else 0.0
        self._due_s = self._clock()

    def read(self, size: int | None = -1, /) -> bytes:
        if self._pause is not None:
            self._pause()
        if not self._byte_s:
            return super().read(size)
        if size is not None and size > 0:
            size = min(size, _BLOCK_BYTES)
        self._sleep(max(0.0, self._due_s - self._clock()))
        found = super().read(size)
        self._due_s = max(self._due_s, self._clock()) + self._byte_s * len(found)
        return found
