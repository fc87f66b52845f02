"""`LatestVitals`: the vitals that control reported last, for as long as they are current."""

from __future__ import annotations

import msgspec

from ...transport.bodies import Vitals

VITALS_NS = 2_000_000_000
"""How long vitals are current."""


class LatestVitals:
    """The vitals of one robot. `script`: its loop belongs to a program that may pause it."""

    def __init__(self, *, script: bool) -> None:
        self._script = script
        self._vitals: Vitals | None = None
        self.heard_ns = 0
        """When they came."""

    def heard(self, vitals: Vitals | None, now_ns: int) -> None:
        """Control sent a heartbeat."""
        self._vitals, self.heard_ns = vitals, now_ns

    def current(self, now_ns: int) -> Vitals | None:
        """The vitals to send on; None when they are outdated.

        A script whose program does something else is PAUSED; the state DEAD stays.
        """
        vitals, silent_ns = self._vitals, now_ns - self.heard_ns
        if vitals is None or silent_ns <= VITALS_NS or vitals.state == "DEAD":
            return vitals
        if not self._script:
            return None
        reason = f"the script has not called act for {silent_ns / 1e9:.0f} s"
        return msgspec.structs.replace(vitals, state="PAUSED", reason=reason, fps=0.0)
