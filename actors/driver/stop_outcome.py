"""`StopOutcome`: what became of a robot that was to be stopped, or released."""

from __future__ import annotations

import msgspec


class StopOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one robot, or of the whole site, where no robot of it is known and `robot` is
    empty. After a stop: `latched` whether it stays stopped, `confirmed`
    whether its device has said that it holds still. After a release: whether either is still so.
    `message` is empty if all was done that was asked for, else it says what was not, and why."""

    robot: str
    fleet: str
    latched: bool = False
    confirmed: bool = False
    by: str = ""
    message: str = ""

    @property
    def done(self) -> bool:
        return not self.message
