"""The sensor with cameras that fail in every way, on memory of this process: what it publishes,
and what it says."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from holdfast.actors.runtime.actor import boot_in_memory
from holdfast.actors.runtime.status_board import StatusBoardReader
from holdfast.actors.sensor.sensor import SensorActor
from holdfast.tests.robot.cameras.mjpeg_server import MjpegServer, number_of
from holdfast.tests.waiting import wait_until
from holdfast.transport.frame_ring import FrameRing
from holdfast.transport.frames import FrameReader

WIDTH, HEIGHT = 64, 48


class Sensor(NamedTuple):
    """A sensor that runs, seen from outside."""

    frames: FrameReader
    board: StatusBoardReader

    def report(self) -> dict[str, Any]:
        return self.board.report() or {}

    def says(self, text: str, within_s: float = 60.0) -> dict[str, Any]:
        """Its report, once its reason contains `text`; "" is: once it has frames."""

        def said() -> dict[str, Any] | None:
            report = self.report()
            reason = report.get("reason", "unreported")
            return report if (text in reason if text else not reason) else None

        return wait_until(said, f"the sensor says {text!r}", within_s)

    def goes_on(self) -> None:
        """Wait for some turns of its loop: with a camera that is lost, two further tries."""
        turns = self.board.progress()[0]
        wait_until(lambda: self.board.progress()[0] >= turns + 6, "further turns")

    def sees(self, count: int = 5) -> None:
        """Wait for so many further frames."""
        number = self.frames.number
        wait_until(lambda: self.frames.number >= number + count, "further frames")


@contextmanager
def sensor(**entry: Any) -> Iterator[Sensor]:
    """A sensor, until it is asked to stop."""
    config = {
        "robot": "r",
        "camera": "eye",
        "width": WIDTH,
        "height": HEIGHT,
        "fps": 30.0,
        "segment": "r/eye",
        **entry,
    }
    segments = {"r/eye": FrameRing.size_for((HEIGHT, WIDTH, 3))}
    boot, link, supervisor = boot_in_memory("sensor", "r/eye", config, segments)
    codes: list[int] = []
    thread = threading.Thread(
        target=lambda: codes.append(SensorActor(boot, link).main()), daemon=True
    )
    thread.start()
    try:
        yield Sensor(
            FrameReader(boot.memory["r/eye"]), StatusBoardReader(boot.memory["r/eye/board"])
        )
    finally:
        supervisor.command("stop")
        thread.join(60)
        supervisor.close()
        link.close()
    assert codes == [0]


@pytest.fixture
def stream() -> Iterator[MjpegServer]:
    server = MjpegServer((WIDTH, HEIGHT))
    yield server
    server.close()


def of_stream(server: MjpegServer, timeout_s: float = 0.6, **entry: Any) -> dict[str, Any]:
    options = {"source": server.address, "timeout_s": timeout_s}
    return {"driver": "opencv", "options": options, **entry}


def test_a_stream_that_freezes_has_failed_until_it_moves_again(stream: MjpegServer) -> None:
    """Identical frames are not published; a freeze counts once and ends with another frame."""
    with sensor(**of_stream(stream, timeout_s=30.0, frozen_after_s=1.5)) as it:
        it.says("")
        it.sees()
        for freezes in (1, 2):
            stream.live.clear()
            report = it.says("frozen: it gives frames that are all identical")
            assert report["freezes"] == freezes and report["stamp"] == "arrival"
            number = it.frames.number
            stream.opened_anew(2)
            assert it.frames.number == number
            assert it.says("frozen")["freezes"] == freezes
            stream.live.set()
            assert it.says("")["outages"] == freezes
            it.sees()


def test_a_stream_that_stalls_ends_or_changes_its_size_is_read_again(stream: MjpegServer) -> None:
    """Each with its own reason; no frame that queued meanwhile is published as new."""
    with sensor(**of_stream(stream)) as it:
        it.says("")
        it.sees()
        stream.sending.clear()
        it.says("no further picture within 0.6 s")
        stalled_ns = time.monotonic_ns()
        stream.sending.set()
        it.says("")
        it.sees()
        frame = it.frames.latest()
        assert frame is not None
        assert stream.captured_ns[number_of(frame.image)] > stalled_ns - 0.5e9
        stream.serving.clear()
        it.says("does not open as a stream")
        stream.size = 128, 96
        stream.serving.set()
        it.says("128 x 96 pixels, expected 64 x 48")
        stream.size = WIDTH, HEIGHT
        it.says("")
        it.sees()
        assert it.report()["freezes"] == 0


def test_an_offset_is_subtracted_from_every_instant(stream: MjpegServer) -> None:
    """And never puts one into the future."""
    with sensor(**of_stream(stream, offset_ms=400.0)) as it:
        it.says("")
        it.sees()

        def early_s() -> float:
            frame = it.frames.latest()
            assert frame is not None
            return (stream.captured_ns[number_of(frame.image)] - frame.capture_ns) / 1e9

        # Of 0.4 s the time is missing that the picture took, on a machine that may pause.
        assert wait_until(lambda: found if (found := early_s()) > 0.2 else None) < 0.41
        assert it.report()["offset_ms"] == 400.0
    with sensor(**of_stream(stream, offset_ms=-400.0)) as it:
        it.says("")
        it.sees()
        frame = it.frames.latest()
        assert frame is not None and frame.capture_ns <= time.monotonic_ns()


FAULTS = {
    "open": "not plugged in",
    "raises": "read raised ZeroDivisionError: division by zero",
    "shape": "read raised ValueError: could not broadcast",
    "gone": "read: [Errno 19] No such device",
    "none": "broke its contract: read returned None, expected the instant",
    "future": "broke its contract: read returned an instant some 1e+09 ms in the future",
    "back": "broke its contract: read returned an instant before the last one",
    "still": "frozen: it gives frames that are all identical",
    "again": "frozen: it gives the same frame again, of one instant",
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_camera_of_the_users_own_that_goes_wrong_is_said_to_and_used_again_after(
    folder: str, tmp_path: Path, fault: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Its traceback is logged once, no frame is published meanwhile, and it is used again after."""
    wrong = tmp_path / "wrong"
    options = {"fault": fault, "fault_file": str(wrong)}
    entry = {"driver": "eyes:Noise", "import_path": folder, "options": options}
    if fault == "open":
        wrong.touch()
    freezes = fault in ("still", "again")
    with sensor(**entry, frozen_after_s=1.5 if freezes else 60.0) as it:
        if fault != "open":
            it.says("")
            it.sees()
        wrong.touch()
        report = it.says(FAULTS[fault])
        number = it.frames.number
        assert report["freezes"] == freezes
        if fault in ("raises", "shape"):
            assert "eyes.py:" in report["reason"]
        it.goes_on()
        assert it.frames.number == number
        wrong.unlink()
        it.says("")
        it.sees()
    traced = [record for record in caplog.records if record.exc_info]
    assert len(traced) == (fault in ("raises", "shape"))


def test_a_camera_without_noise_is_never_frozen_by_its_pixels(folder: str) -> None:
    """`frozen_after_s: 0`: identical frames are published."""
    options = {"fault": "still"}
    entry = {"driver": "eyes:Noise", "import_path": folder, "options": options}
    with sensor(**entry, frozen_after_s=0.0) as it:
        it.sees(30)
        assert it.report()["freezes"] == 0 and not it.report()["reason"]
