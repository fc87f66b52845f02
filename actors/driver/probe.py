"""Look at a robot without a fleet: connect, measure for a while, close. It is commanded nothing and
its torque stays as it is.

The driver runs in its own interpreter, in a short-lived process that prints a `Reading` as a line
of JSON several times a second: `python -m holdfast.actors.driver.probe`, the question on stdin.
"""

from __future__ import annotations

import logging
import time

import msgspec
import numpy as np

from ..runtime.readings import answer_and_end, say
from . import resolve
from .describe import Asked
from .device import Device

REPORT_S = 0.2


class Probe(msgspec.Struct, frozen=True):
    """What to look at, and for how long: to connect to it, and then to measure. `cameras` are those
    whose frames the driver delivers, by name: width and height."""

    asked: Asked
    seconds: float = 5.0
    period_s: float = 1 / 30
    cameras: dict[str, tuple[int, int]] = {}


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """What a driver has measured so far, since it was made.

    `at_ns`: when this was said. `values` are the state's by name, `reads` and `frames` (by camera)
    count measurements, `errors` counts failed calls by method; `calls_ms` has p50, p99 and max of
    the latest. `reason` says why the device does not work now; it is empty while it does. `fatal`:
    it cannot be made at all.
    """

    at_ns: int = 0
    values: dict[str, float] = {}
    reads: int = 0
    frames: dict[str, int] = {}
    state_age_ms: float | None = None
    errors: dict[str, int] = {}
    last_error: str = ""
    reason: str = ""
    calls_ms: dict[str, dict[str, float]] = {}
    phase: str = ""
    fatal: str = ""


class _Look:
    """One robot while it is looked at."""

    def __init__(self, probe: Probe, out: int) -> None:
        self._probe, self._out = probe, out
        asked = probe.asked
        robot = resolve.create(asked.driver, asked.options, asked.import_path)
        self._device = Device(robot, logging.getLogger(__name__), lambda _: None)
        own_s = robot.period_s
        self._period_s = probe.period_s if own_s is None else own_s
        self._pictures = {
            name: np.empty((height, width, 3), np.uint8)
            for name, (width, height) in probe.cameras.items()
        }
        self._report_s = 0.0

    def run(self) -> None:
        try:
            if self._connected():
                self._measure()
        finally:
            self._device.close()
            self._report_s = 0.0
            self._say("")

    def _connected(self) -> bool:
        until_s = time.monotonic() + self._probe.seconds
        while time.monotonic() < until_s:
            self._report_s = 0.0
            self._say("connecting")
            if self._device.connect():
                return True
            time.sleep(REPORT_S)
        return False

    def _measure(self) -> None:
        due_s = time.monotonic()
        end_s = due_s + self._probe.seconds
        while due_s < end_s:
            if not self._device.open and time.monotonic_ns() >= self._device.retry_ns:
                self._device.connect()
            if self._device.open:
                self._device.read()
                for name, picture in self._pictures.items():
                    self._device.read_frame(name, picture)
            self._say("measuring")
            due_s = max(due_s + self._period_s, time.monotonic())
            time.sleep(max(0.0, min(due_s, end_s) - time.monotonic()))

    def _say(self, phase: str) -> None:
        now_s = time.monotonic()
        if now_s >= self._report_s:
            self._report_s = now_s + REPORT_S
            say(self._out, Reading(**self._device.readings(), phase=phase))


if __name__ == "__main__":
    answer_and_end(
        Probe, lambda probe, out: _Look(probe, out).run(), lambda reason: Reading(fatal=reason)
    )
