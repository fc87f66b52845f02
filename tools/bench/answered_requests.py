"""`AnsweredRequests`: requests of a path until enough of them were answered."""

from __future__ import annotations

from typing import Protocol


class AskedPath(Protocol):
    """A `request_path.Path`, as far as it is asked here."""

    @property
    def reason(self) -> str:
        """Why the last request failed."""

    def attempt(self) -> float | None:
        """The milliseconds until a request was answered; None if it failed."""


class AnsweredRequests:
    """Counts the requests that `failed`: a busy machine delays one for longer than its frames stay
    or its robot waits."""

    def __init__(self, path: AskedPath) -> None:
        self._path = path
        self.failed = 0

    def times_ms(self, n: int) -> list[float]:
        """How long each of `n` requests took that were answered. Raises RuntimeError when more of
        them fail."""
        times_ms: list[float] = []
        failed = 0
        while len(times_ms) < n:
            took_ms = self._path.attempt()
            if took_ms is not None:
                times_ms.append(took_ms)
                continue
            failed += 1
            if failed > n:
                raise RuntimeError(
                    f"{failed} of {failed + len(times_ms)} requests failed, the last because: "
                    f"{self._path.reason}"
                )
        self.failed += failed
        return times_ms
