"""`FailedRequests`: a benchmark goes on after a request that fails, and says how many did."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

IN_A_ROW = 5
"""After so many failures one after the other a case is given up: each may have waited for long."""

Result = TypeVar("Result")


class FailedRequests:
    """Those of one case: `count`, and why the last failed. Once it is `given_up` nothing of it is
    to be asked any more."""

    def __init__(self) -> None:
        self.count = 0
        self.why = ""
        self._in_a_row = 0

    @property
    def given_up(self) -> bool:
        return self._in_a_row >= IN_A_ROW

    def attempt(self, request: Callable[[], Result]) -> Result | None:
        """The result of `request`; None for one that fails, which is counted."""
        try:
            result = request()
        except Exception as error:  # noqa: BLE001  what is asked is a library's code
            self.count += 1
            self._in_a_row += 1
            lines = str(error).strip().splitlines()
            self.why = lines[-1] if lines else type(error).__name__
            return None
        self._in_a_row = 0
        return result

    def about(self) -> dict[str, Any]:
        """What a row of figures says of them; nothing where there are none."""
        return {"failed": self.count, "why": self.why} if self.count else {}
