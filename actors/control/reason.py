"""`Reason`: why a robot gets no chunks now, in a sentence that is true now.

Each part (the driver, the session, the request) holds its own fault and clears it when it recovers:
an old fault is not repeated.
"""

from __future__ import annotations

from .supply_state import SupplyState

_NS = 1_000_000_000


class Reason:
    """One robot's.

    Attributes:
        service: the name that it asks for.
        dead: why the robot stopped for good.
        driver: why the robot cannot be commanded; empty if it can.
        session: why there is no session; empty if there is one, or nothing is known.
        request: why the last request brought no chunk; empty if it did, or its answer is awaited.
        replica: who serves the session.
    """

    def __init__(self, service: str):
        self.service = service
        self.dead = self.driver = self.session = self.request = self.replica = ""
        self._since_ns = 0

    def opened(self, replica: str, now_ns: int) -> None:
        """There is a session, by `replica`."""
        self.session, self.request, self.replica = "", "", replica
        self._since_ns = now_ns

    def closed(self, why: str, now_ns: int) -> None:
        """The session is lost, because of `why`."""
        self.session, self.replica = why, ""
        self._since_ns = now_ns

    def merged(self, now_ns: int) -> None:
        """A chunk became the plan."""
        self.request = ""
        self._since_ns = now_ns

    def cause(self, state: SupplyState) -> str:
        """Without how long: it changes when something else is wrong. Empty if all is well."""
        if state is SupplyState.DEAD:
            return self.dead
        if self.driver:
            return self.driver
        if state is SupplyState.STREAMING:
            return ""
        if not self.replica:
            return self.session or f"the handshake with service '{self.service}' is not answered"
        return self.request or f"a chunk is awaited from {self.replica}"

    def sentence(self, state: SupplyState, now_ns: int) -> str:
        """The cause, and for how long it has kept chunks away, once that is a second or more."""
        cause = self.cause(state)
        self._since_ns = self._since_ns or now_ns
        whole_s = (now_ns - self._since_ns) // _NS
        if not cause or self.driver or state is SupplyState.DEAD or whole_s < 1:
            return cause
        what = "no chunk" if self.replica else "no session"
        return f"{cause} ({what} for {whole_s} s)"
