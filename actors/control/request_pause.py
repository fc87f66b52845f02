"""`RequestPause`: how long a robot waits before its next request."""

from __future__ import annotations

_ERROR_NS = 100_000_000
_MAX_ERROR_NS = 5_000_000_000
"""A robot whose requests keep failing takes less and less of a service that others share."""
_EPISODE_NS = 40_000_000
"""Until the cameras have seen the new episode: a request before that is refused."""
_UNSENT_NS = 50_000_000


class RequestPause:
    """One robot's. Pure: instants come from the caller."""

    def __init__(self) -> None:
        self._until_ns = 0
        self._error_ns = _ERROR_NS

    def over(self, now_ns: int) -> bool:
        """Whether the pause is over, so that a request may go out."""
        return now_ns >= self._until_ns

    def new_episode(self, now_ns: int) -> None:
        self._until_ns = now_ns + _EPISODE_NS

    def unsent(self, now_ns: int) -> None:
        self._until_ns = now_ns + _UNSENT_NS

    def refused(self, now_ns: int) -> None:
        """The robot's own network actor refused: that costs no other robot anything."""
        self._until_ns = now_ns + _ERROR_NS

    def failed(self, now_ns: int) -> None:
        """The service answered by an error: the pause doubles with each that follows another."""
        self._until_ns = now_ns + self._error_ns
        self._error_ns = min(2 * self._error_ns, _MAX_ERROR_NS)

    def succeeded(self) -> None:
        """A chunk was merged, or a session opened: the next error is the first again."""
        self._error_ns = _ERROR_NS
