"""A driver's calls: what is refused, what is counted, and when the device is opened again."""

from __future__ import annotations

import importlib
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from holdfast.actors.driver.device import Device
from holdfast.errors import RobotError
from holdfast.robot.base import Robot, RobotSpec

Read = Callable[[NDArray[np.float32]], Any]


class Scripted(Robot):
    """Does in `read_state` what the test says."""

    def __init__(self) -> None:
        self.spec = RobotSpec(("a", "b"), ("a", "b"))
        self.read: Read = self.well
        self.fails: str = ""
        self.calls: list[str] = []

    def well(self, out: NDArray[np.float32]) -> int:
        out[:] = (1, 2)
        return time.monotonic_ns()

    def connect(self) -> None:
        self._call("connect")

    def read_state(self, out: NDArray[np.float32]) -> int:
        self._call("read_state")
        return self.read(out)  # type: ignore[no-any-return]

    def write_action(self, action: NDArray[np.float32]) -> None:
        self._call("write_action")

    def read_frame(self, camera: str, out: NDArray[np.uint8]) -> int | None:
        self._call("read_frame")
        out[:] = {"light": 7}[camera]
        return time.monotonic_ns()

    def report(self) -> dict[str, Any]:
        self._call("report")
        return {}

    def close(self) -> None:
        self._call("close")

    def _call(self, name: str) -> None:
        self.calls.append(name)
        if self.fails == name:
            raise OSError(5, "a damaged packet")


@pytest.fixture
def robot() -> Scripted:
    return Scripted()


@pytest.fixture
def device(robot: Scripted) -> Device:
    """An open one."""
    made = Device(robot, logging.getLogger("test"), lambda _: None)
    assert made.connect()
    return made


def test_a_measurement_is_kept_with_its_instant(device: Device) -> None:
    """The state and its instant are those of the last call that succeeded."""
    before_ns = time.monotonic_ns()
    assert device.read()
    assert device.state.tolist() == [1, 2]
    assert before_ns <= device.measured_ns <= time.monotonic_ns()


def back(out: NDArray[np.float32]) -> int:
    out[:] = 0
    return 5


def future(out: NDArray[np.float32]) -> int:
    out[:] = 0
    return time.monotonic_ns() + 10**15


def half(out: NDArray[np.float32]) -> int:
    out[0] = 3
    return time.monotonic_ns()


def nothing(out: NDArray[np.float32]) -> None:
    out[:] = 0


def seconds(out: NDArray[np.float32]) -> float:
    out[:] = 0
    return time.monotonic()


def infinite(out: NDArray[np.float32]) -> int:
    out[:] = (0, np.inf)
    return time.monotonic_ns()


def longer(out: NDArray[np.float32]) -> int:
    out[:] = np.zeros(3)
    return time.monotonic_ns()


@pytest.mark.parametrize(
    ("read", "said"),
    [
        (back, "before the last one"),
        (future, "1e+09 ms in the future"),
        (half, "left nan in out[1] (b)"),
        (infinite, "left inf in out[1] (b)"),
        (nothing, "returned None, expected the instant"),
        (seconds, "expected the instant of the measurement in ns"),
        (longer, "ValueError: could not broadcast input array from shape (3,) into shape (2,)"),
    ],
)
def test_a_driver_that_breaks_its_contract_is_refused_with_what_it_did(
    robot: Scripted, device: Device, read: Read, said: str
) -> None:
    """The state is not handed on, and what the driver did is said."""
    assert device.read()
    before = device.state.tolist(), device.measured_ns
    robot.read = read
    assert not device.read()
    assert said in device.last_error
    assert (device.state.tolist(), device.measured_ns) == before
    assert device.errors == {"read_state": 1}


def test_an_error_of_a_driver_has_the_users_file_and_line(
    robot: Scripted, device: Device, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The line is the last one outside of the package and of what is installed."""
    (tmp_path / "users_arm.py").write_text("def read(out):\n    out[:] = [0, 0, 0]\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    robot.read = importlib.import_module("users_arm").read
    assert not device.read()
    assert "users_arm.py:2 in read" in device.last_error


def test_one_failure_costs_a_call_and_two_in_a_row_the_connection(
    robot: Scripted, device: Device
) -> None:
    """A damaged packet is no reason to open the bus anew; a silent bus is."""
    robot.fails = "read_state"
    assert not device.read() and device.open
    robot.fails = ""
    assert device.read() and device.open
    robot.fails = "read_state"
    assert (device.read(), device.open) == (False, True)
    assert (device.read(), device.open) == (False, False)
    assert "a damaged packet" in device.reason
    assert device.retry_ns > time.monotonic_ns()
    robot.fails = "connect"
    assert not device.connect() and device.outages == 1
    robot.fails = ""
    robot.calls.clear()
    assert device.connect() and device.reason == ""
    assert robot.calls == ["close", "connect"], "what was left open is closed first"


def test_a_call_that_fails_now_and_then_does_not_hide_behind_others(
    robot: Scripted, device: Device
) -> None:
    """A motor that takes no commands is an outage, although it can still be read."""
    robot.fails = "write_action"
    for _ in range(2):
        assert device.read()
        assert not device.write(np.zeros(2, np.float32))
    assert not device.open and device.reason.startswith("write_action: ")


@pytest.mark.parametrize(
    "error", [RobotError("no"), OSError(5, "no"), KeyError("no"), ValueError()]
)
def test_no_error_of_a_driver_gets_out(device: Device, robot: Scripted, error: Exception) -> None:
    """Whatever a driver raises becomes a counted failure with its method's name."""

    def fail(_out: NDArray[np.float32]) -> int:
        raise error

    robot.read = fail
    assert not device.read() and device.last_error.startswith("read_state: ")


def test_every_call_is_noted_before_it_begins_and_after_it_ends(robot: Scripted) -> None:
    """A call that hangs is then one that has a name, and of which no progress is seen."""
    noted: list[tuple[str, int]] = []
    device = Device(
        robot, logging.getLogger("test"), lambda name: noted.append((name, len(robot.calls)))
    )
    device.connect()
    assert noted == [("close", 0), ("", 1), ("connect", 1), ("", 2)]


def test_a_frame_or_a_report_that_fails_costs_itself_alone(
    robot: Scripted, device: Device, caplog: pytest.LogCaptureFixture
) -> None:
    """The device stays open; the log has each camera's reason once."""
    out = np.zeros((2, 2, 3), np.uint8)
    for _ in range(5):
        with pytest.raises(RobotError, match="read_frame: KeyError: 'dark'"):
            device.read_frame("dark", out)
        assert device.read_frame("light", out) is not None
    assert len(caplog.records) == 1 and "camera dark" in caplog.text
    robot.fails = "report"
    assert [device.report() for _ in range(5)] == [{}] * 5
    assert len(caplog.records) == 2
    assert device.errors == {"read_frame": 5, "report": 5}
    assert device.open and device.reason == "" and device.read()
    assert "close" not in robot.calls[1:]
