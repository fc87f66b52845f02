"""`ServiceChange`: a robot goes over to another service, or stays with the one that it has."""

from __future__ import annotations

from dataclasses import dataclass

CHANGE_NS = 4_000_000_000
"""How long the other service may take to accept the robot. Less than the supervisor waits for the
answer to a command, so that this has the reason of a refusal."""


@dataclass(slots=True)
class ServiceChange:
    """One change, from its first handshake to its end.

    Attributes:
        before, after: the services' names.
        deadline_ns: when it counts as refused.
        pending: whether `after` has neither accepted nor refused the robot.
        refusal: why the robot goes back to `before`; empty if it does not.
    """

    before: str
    after: str
    deadline_ns: int
    pending: bool = True
    refusal: str = ""

    def accepted(self) -> None:
        self.pending = False

    def refused(self, why: str) -> None:
        self.pending, self.refusal = False, why
