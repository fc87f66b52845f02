"""`Device`: a robot's driver as its process calls it: every call is counted, timed and checked.

Guarantees: no exception of a driver gets out, whatever it is; a state that is handed on has a
finite number for every name and an instant that lies in the past and does not go back. A driver
that fails once in a row is asked again; one that fails twice is closed, and opened again after a
pause. A failing `read_frame` or `report` costs its result alone: the robot is commanded without.
Not guaranteed: that a call returns. The supervisor ends a process that stays in one.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from time import monotonic_ns
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from ...errors import RobotError
from ...robot.base import Episode, Robot
from ...transport.arrays import all_finite
from ..runtime.outage import Outage
from ..runtime.user_code import blame
from .registers import Floats

FAILURES = 2
"""In a row, after which the device is closed: one failure alone may be a damaged packet."""
STANDS_STILL_NS = 300_000_000
"""A call that takes longer says that this process, or its bus, stood still."""
_KEPT = 512
_OPTIONAL = ("read_frame", "report", "begin_episode")
"""The methods without which the robot is commanded and measured all the same."""

T = TypeVar("T")


class Device:
    """One robot's. `calls` is called with the method's name before each call of the driver, and
    with an empty one after it.

    Attributes:
        open: whether the last `connect` worked and nothing failed since.
        state: [S], the last measurement; valid until the next.
        measured_ns: its instant; 0 before the first.
        reads: how many measurements there were; `frames`: new frames, by camera.
        errors: failed calls, by the name of the method; `last_error` says what the last one was.
        stood_still: a call took so long that what is queued is old; the caller takes it back.
    """

    def __init__(self, robot: Robot, log: logging.Logger, calls: Callable[[str], object]) -> None:
        self.robot = robot
        self.open = False
        spec = robot.spec
        self.state: Floats = np.zeros(len(spec.state_names), np.float32)
        self.measured_ns = self.reads = 0
        self.frames: dict[str, int] = {}
        self.episode: Episode | None = None
        self._ended: object = None
        """The number of the attempt that was broken off last."""
        self.errors: dict[str, int] = {}
        self.last_error = ""
        self.stood_still = False
        self.took_ms: dict[str, deque[float]] = {}
        self._log = log
        self._calls = calls
        self._names = spec.state_names
        self._fresh = np.empty_like(self.state)
        self._outage = Outage()
        self._failed: dict[str, int] = {}
        """Calls that failed in a row, by method."""
        self._said: dict[tuple[str, str], str] = {}
        """Why each method, of each camera, failed last: the log has it once."""
        self._retry_ns = 0

    @property
    def reason(self) -> str:
        """Why the device does not work; empty while it does."""
        return self._outage.reason

    @property
    def outages(self) -> int:
        return self._outage.count

    @property
    def retry_ns(self) -> int:
        """Not before this instant should `connect` be called."""
        return self._retry_ns

    def connect(self) -> bool:
        """Open it. If it had been open, what it left is closed first."""
        self._call("close", self.robot.close)
        done, _ = self._call("connect", self.robot.connect)
        if not done:
            return False
        self.open, self._failed = True, {}
        lost_s = self._outage.ended(monotonic_ns())
        if lost_s is not None:
            self._log.info("the robot answers again, after %.1f s", lost_s)
        return True

    def read(self) -> bool:
        """Measure; whether `state` is new."""
        fresh = self._fresh
        fresh[:] = np.nan
        done, instant = self._call(
            "read_state", lambda: self.robot.read_state(fresh), self._misread
        )
        if not done or instant is None or instant == self.measured_ns:
            return False
        self.state[:], self.measured_ns = fresh, instant
        self.reads += 1
        done, self.episode = self._call("episode", self.robot.episode)
        return done

    def write(self, action: Floats) -> bool:
        return self._call("write_action", lambda: self.robot.write_action(action))[0]

    def hold(self) -> bool:
        return self._call("hold", self.robot.hold)[0]

    def park(self) -> bool | None:
        """Take a step towards the parked pose; whether that was the last, None if it failed."""
        done, there = self._call("safe_stop", self.robot.safe_stop)
        return bool(there) if done else None

    def release(self) -> bool:
        return self._call("release", self.robot.release)[0]

    def flush(self) -> bool:
        return self._call("flush", self.robot.flush)[0]

    def begin_episode(self, after: object) -> bool:
        """Have the surroundings begin an attempt, unless another than the one numbered `after` is
        under way already; whether one is, or will be at the next `read`."""
        under_way = None if self.episode is None else self.episode.number
        if after != under_way or after == self._ended:
            return True
        begun, _ = self._call("begin_episode", self.robot.begin_episode)
        self._ended = after if begun else None
        return begun

    def read_frame(self, camera: str, out: NDArray[np.uint8]) -> int | None:
        """The instant of a new frame of `camera`, written to `out`; None if there is none. Raises
        RobotError, with the method and the reason, when the driver fails."""

        def misread(instant: object) -> str:
            if instant is None or (isinstance(instant, int) and 0 < instant <= monotonic_ns()):
                return ""
            return f"read_frame returned {instant!r:.40}, expected the instant of the capture in ns"

        done, instant = self._call(
            "read_frame", lambda: self.robot.read_frame(camera, out), misread, camera
        )
        if not done:
            raise RobotError(self.last_error)
        self.frames[camera] = self.frames.get(camera, 0) + (instant is not None)
        return instant

    def report(self) -> dict[str, Any]:
        """What the driver wants to be shown."""
        return self._call("report", lambda: dict(self.robot.report()))[1] or {}

    def readings(self) -> dict[str, Any]:
        """What was measured so far, for `actorctl robots probe`: see `probe.Reading`."""
        age_ms = (monotonic_ns() - self.measured_ns) / 1e6 if self.measured_ns else None
        values = map(float, self.state) if self.measured_ns else ()
        return {
            "at_ns": monotonic_ns(),
            "values": dict(zip(self._names, values, strict=False)),
            "reads": self.reads,
            "frames": dict(self.frames),
            "state_age_ms": age_ms,
            "errors": dict(self.errors),
            "last_error": self.last_error,
            "reason": self.reason,
            "calls_ms": self.milliseconds(),
        }

    def close(self) -> None:
        """Close it for good."""
        self._call("close", self.robot.close)
        self.open = False

    def milliseconds(self) -> dict[str, dict[str, float]]:
        """How long the latest calls took, by method."""
        return {
            name: {
                "p50": round(float(np.percentile(took, 50)), 3),
                "p99": round(float(np.percentile(took, 99)), 3),
                "max": round(max(took), 3),
            }
            for name, took in self.took_ms.items()
            if took
        }

    def _call(
        self,
        name: str,
        call: Callable[[], T],
        fault: Callable[[T], str] = lambda _: "",
        camera: str = "",
    ) -> tuple[bool, T | None]:
        """(True, what `call` returned), or (False, None) if it failed or has a `fault`. `camera` is
        the one that it is about, if it is about one."""
        self._calls(name)
        began = monotonic_ns()
        try:
            result = call()
        except (RobotError, OSError) as error:
            self._count(name, str(error) or type(error).__name__, camera=camera)
            return False, None
        except Exception as error:  # noqa: BLE001  the driver is the user's or a library's code
            self._count(name, blame(error), error, camera)
            return False, None
        finally:
            took_ns = monotonic_ns() - began
            self.took_ms.setdefault(name, deque(maxlen=_KEPT)).append(took_ns / 1e6)
            if took_ns > STANDS_STILL_NS and name != "connect":
                self.stood_still = True
            self._calls("")
        if broken := fault(result):
            self._count(name, f"the driver broke its contract: {broken}", camera=camera)
            return False, None
        self._failed[name] = 0
        return True, result

    def _count(
        self, name: str, reason: str, error: Exception | None = None, camera: str = ""
    ) -> None:
        """One call failed."""
        self.errors[name] = self.errors.get(name, 0) + 1
        self._failed[name] = self._failed.get(name, 0) + 1
        said = self.last_error = f"{name}: {reason}"
        new = self._said.get((name, camera)) != said
        self._said[name, camera] = said
        of_camera = f" of camera {camera}" if camera else ""
        if new and error is not None:
            self._log.error("%s%s failed in the driver's own code", name, of_camera, exc_info=error)
        elif new and name in _OPTIONAL:
            self._log.warning("%s failed%s: %s", name, of_camera, reason)
        if name in _OPTIONAL:
            return
        if not self.open:
            if name == "connect":
                self._fail(said)
        elif self._failed[name] >= FAILURES:
            self._fail(said)
            self.open = False

    def _fail(self, reason: str) -> None:
        now_ns = monotonic_ns()
        if self._outage.failed(reason, now_ns):
            self._log.warning("the robot does not answer: %s", reason)
        self._retry_ns = now_ns + round(self._outage.pause_s * 1e9)

    def _misread(self, instant: object) -> str:
        """What is wrong with the measurement in `_fresh`, of `instant`; empty if nothing is."""
        if isinstance(instant, bool) or not isinstance(instant, int | np.integer):
            return (
                f"read_state returned {instant!r:.40}, expected the instant of the measurement in "
                "ns (time.monotonic_ns())"
            )
        now_ns = monotonic_ns()
        if instant > now_ns:
            return f"read_state returned an instant {(instant - now_ns) / 1e6:.3g} ms in the future"
        if instant < self.measured_ns:
            back_ms = (self.measured_ns - instant) / 1e6
            return f"read_state returned an instant {back_ms:.3g} ms before the last one"
        if not all_finite(self._fresh):
            place = int(np.argmin(np.isfinite(self._fresh)))
            return (
                f"read_state left {self._fresh[place]} in out[{place}] ({self._names[place]}), "
                "expected a number for every name"
            )
        return ""
