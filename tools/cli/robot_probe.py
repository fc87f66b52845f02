"""Look at one robot: its state, how often it is measured, its errors, its cameras' frame rates.

Through its driver, if the fleet runs; else its driver and its cameras are started for as long, each
in its own interpreter. Either way nothing is commanded, and the torque stays as it is.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import msgspec

from ...actors.driver.describe import Asked
from ...actors.driver.probe import Probe, Reading
from ...actors.driver.wake import ask
from ...actors.fleet.robot_entry import RobotEntry
from ...actors.fleet.schema import FleetFile
from ...actors.sensor.describe_camera import AskedCamera
from ...actors.sensor.probe_camera import CameraProbe, CameraReading
from .probing import TURN_S, Probing, watch_all

_CAMERA_PATIENCE_S = 20.0


class CameraRate(msgspec.Struct, frozen=True):
    """One camera: new frames per second, and why there are none (empty if there are)."""

    fps: float | None = None
    reason: str = ""


class Look(msgspec.Struct, frozen=True, kw_only=True):
    """What was seen of a robot so far. `low` and `high` are the lowest and highest value of each
    name, `rate_hz` new measurements per second, `took_s` how long was looked."""

    robot: str
    by: str
    values: dict[str, float] = {}
    low: dict[str, float] = {}
    high: dict[str, float] = {}
    rate_hz: float | None = None
    measurements: int = 0
    took_s: float = 0.0
    state_age_ms: float | None = None
    read_ms: dict[str, float] = {}
    errors: dict[str, int] = {}
    reason: str = ""
    cameras: dict[str, CameraRate] = {}


Show = Callable[[Look], object]


def through_fleet(
    robot: str, wake: str, seconds: float, status: Callable[[], dict[str, Any]], show: Show
) -> Look:
    """Look at `robot` through its running driver, whose socket is `wake`; its other cameras are in
    the fleet's `status`. `show` is called with what was seen, several times a second."""
    readings: list[Reading] = []
    seen = Look(robot=robot, by="the running fleet's driver")
    end_s = time.monotonic() + seconds
    while True:
        answer = ask(Path(wake), {"do": "probe"})
        silent = answer is None
        if answer is not None:
            readings.append(msgspec.convert(answer, Reading))
        rows = {row["name"]: row for row in status()["actors"]}
        cameras = {
            name.partition("/")[2]: _of_report(row["report"] or {}, row["reason"])
            for name, row in rows.items()
            if row["kind"] == "sensor" and name.startswith(f"{robot}/")
        }
        fault = "its driver does not answer: `actorctl status` says why" if silent else ""
        seen = _seen(robot, seen.by, readings, fault, cameras)
        show(seen)
        if time.monotonic() >= end_s:
            return seen
        time.sleep(TURN_S)


def in_own_processes(fleet: FleetFile, robot: RobotEntry, seconds: float, show: Show) -> Look:
    """Start the driver of `robot` and its cameras for `seconds`, and look at it."""
    delivered = {
        name: (camera.width, camera.height)
        for name, camera in robot.cameras.items()
        if camera.driver == "robot"
    }
    asked = Asked(robot.driver, robot.options, fleet.import_path)
    python = None if robot.in_process else robot.python
    period_s = 1 / (robot.fps * robot.interpolate)
    patience_s = robot.safety.connect_timeout_s + robot.safety.io_timeout_s
    driver = Probing(
        "holdfast.actors.driver.probe",
        Probe(asked, seconds, period_s, delivered),
        Reading,
        python,
        patience_s,
    )
    cameras = {name: _camera(fleet, robot, name, seconds) for name in _own_cameras(robot)}
    by = f"a process of its own ({robot.driver}{f', {python}' if python else ''})"

    def look() -> Look:
        rates = {name: _of_process(camera) for name, camera in cameras.items()}
        for name, camera in robot.cameras.items():
            if camera.driver == "sim":
                rates[name] = CameraRate(None, "simulated: it has frames while the fleet runs")
        return _seen(robot.name, by, driver.readings, driver.fault, rates)

    watch_all([driver, *cameras.values()], lambda: show(look()))
    return look()


def _own_cameras(robot: RobotEntry) -> list[str]:
    return [name for name, camera in robot.cameras.items() if camera.driver not in ("robot", "sim")]


def _camera(
    fleet: FleetFile, robot: RobotEntry, name: str, seconds: float
) -> Probing[CameraReading]:
    camera = robot.cameras[name]
    asked = AskedCamera(
        camera.driver,
        camera.options,
        camera.width,
        camera.height,
        camera.fps,
        fleet.import_path,
    )
    return Probing(
        "holdfast.actors.sensor.probe_camera",
        CameraProbe(asked, seconds),
        CameraReading,
        camera.python,
        _CAMERA_PATIENCE_S,
    )


def _of_process(camera: Probing[CameraReading]) -> CameraRate:
    readings = [reading for reading in camera.readings if reading.at_ns]
    if camera.fault or not camera.readings:
        return CameraRate(None, camera.fault or "starting")
    counted = [reading for reading in readings if reading.frames]
    reason = camera.readings[-1].reason
    return CameraRate(_rate([(r.at_ns, r.frames) for r in counted]), reason)


def _of_report(report: dict[str, Any], reason: str) -> CameraRate:
    """A sensor's, by its row in the status."""
    return CameraRate(report.get("fps"), report.get("reason") or reason)


def _seen(
    robot: str,
    by: str,
    readings: list[Reading],
    fault: str,
    cameras: dict[str, CameraRate],
) -> Look:
    """What the `readings` of a driver say together."""
    if not readings:
        return Look(robot=robot, by=by, reason=fault or "starting", cameras=cameras)
    last = readings[-1]
    measured = [reading for reading in readings if reading.values]
    frames = {
        name: CameraRate(_rate([(r.at_ns, r.frames.get(name, 0)) for r in measured]))
        for name in last.frames
    }
    first = measured[0] if measured else last
    newest = measured[-1] if measured else last
    names = list(newest.values)
    return Look(
        robot=robot,
        by=by,
        values=newest.values,
        low={name: min(r.values[name] for r in measured) for name in names},
        high={name: max(r.values[name] for r in measured) for name in names},
        rate_hz=_rate([(r.at_ns, r.reads) for r in measured]),
        measurements=newest.reads - first.reads,
        took_s=(newest.at_ns - first.at_ns) / 1e9,
        state_age_ms=newest.state_age_ms,
        read_ms=last.calls_ms.get("read_state", {}),
        errors=last.errors,
        reason=last.fatal or fault or last.reason or (last.last_error if not measured else ""),
        cameras=frames | cameras,
    )


def _rate(counts: Iterable[tuple[int, int]]) -> float | None:
    """Per second, of (instant in ns, count so far); None for fewer than two instants."""
    points = list(counts)
    if len(points) < 2 or points[-1][0] <= points[0][0]:
        return None
    return (points[-1][1] - points[0][1]) * 1e9 / (points[-1][0] - points[0][0])
