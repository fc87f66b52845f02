"""The OpenCV camera on files, and on a stream that falls silent."""

import statistics
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from holdfast.errors import RecordingEndedError, RobotError
from holdfast.robot.cameras.base import Stamp
from holdfast.robot.cameras.opencv_camera import OpenCVCamera
from holdfast.robot.cameras.source import OpenCVOptions
from holdfast.tests.robot.cameras.mjpeg_server import MjpegServer, number_of
from holdfast.tests.robot.cameras.pictures import RGB, SIZE, picture


@pytest.fixture
def video(tmp_path: Path) -> str:
    """Three frames, red, green and blue, at 50 a second."""
    path = tmp_path / "three.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 50, SIZE)
    for rgb in RGB:
        writer.write(np.ascontiguousarray(picture(rgb)[..., ::-1]))
    writer.release()
    return str(path)


def test_a_file_gives_its_frames_in_rgb_and_begins_again(video: str) -> None:
    """In order, from the first, in the channel order they were made in; stamped in order."""
    camera = OpenCVCamera(video, *SIZE)
    camera.open()
    out = np.empty((SIZE[1], SIZE[0], 3), np.uint8)
    instants = []
    for rgb in RGB * 2:
        instants.append(camera.read(out))
        assert np.abs(out.reshape(-1, 3).mean(axis=0) - rgb).max() < 12
    assert instants == sorted(instants) and instants[-1] <= time.monotonic_ns()
    camera.close()


def test_a_file_is_played_at_its_pace(video: str) -> None:
    """No faster than its rate, or than the one asked for."""
    for fps, period in ((None, 0.02), (100.0, 0.01)):
        camera = OpenCVCamera(video, *SIZE, fps=fps)
        out = np.empty((SIZE[1], SIZE[0], 3), np.uint8)
        start = time.monotonic()
        camera.open()  # from here on a frame is due in each period
        for _ in range(11):
            camera.read(out)
        assert time.monotonic() - start >= 10 * period
        camera.close()


def test_a_file_that_does_not_loop_ends_with_an_error(video: str) -> None:
    """RecordingEndedError comes after the last frame."""
    camera = OpenCVCamera(video, *SIZE, loop=False)
    camera.open()
    out = np.empty((SIZE[1], SIZE[0], 3), np.uint8)
    for _ in RGB:
        camera.read(out)
    with pytest.raises(RecordingEndedError, match="has ended"):
        camera.read(out)
    camera.close()
    camera.close()


def test_another_size_than_asked_for_is_refused_at_open(video: str) -> None:
    """The message names both, and nothing stays open."""
    camera = OpenCVCamera(video, 640, 480)
    with pytest.raises(RobotError, match="64 x 48 pixels, expected 640 x 480"):
        camera.open()
    with pytest.raises(RobotError, match="not open"):
        camera.read(np.empty((480, 640, 3), np.uint8))


def test_a_source_that_is_not_there_is_refused_at_open(tmp_path: Path) -> None:
    """A missing file, a file that is no video, and a device that does not exist."""
    with pytest.raises(RobotError, match="mend its path"):
        OpenCVCamera(str(tmp_path / "gone.mp4"), *SIZE).open()
    text = tmp_path / "text.mp4"
    text.write_text("no video")
    with pytest.raises(RobotError, match="does not open as a file"):
        OpenCVCamera(str(text), *SIZE).open()
    with pytest.raises(RobotError, match="does not open as a device"):
        OpenCVCamera("/dev/video987", *SIZE).open()


@pytest.fixture
def stream() -> Iterator[MjpegServer]:
    server = MjpegServer(SIZE)
    yield server
    server.close()


def test_a_stream_that_falls_silent_is_an_error_in_bounded_time(stream: MjpegServer) -> None:
    """The pictures that came are read; then the read gives up after its timeout."""
    camera = OpenCVCamera(stream.address, *SIZE, timeout_s=2.0)
    camera.open()
    out = np.empty((SIZE[1], SIZE[0], 3), np.uint8)
    camera.read(out)
    assert number_of(out) in stream.captured_ns and camera.stamp is Stamp.ARRIVAL
    stream.sending.clear()
    longest = 0.0
    with pytest.raises(RobotError, match="no further picture"):
        for _ in range(100):
            start = time.monotonic()
            try:
                camera.read(out)
            finally:
                longest = max(longest, time.monotonic() - start)
    assert 1.9 < longest < 30
    camera.close()


def test_what_a_stream_queued_during_a_stall_is_dropped(stream: MjpegServer) -> None:
    """The instants of most frames are at most three periods and 50 ms after their capture."""
    # Of 20 frames: the machine may pause too. A queue of 0.6 s would make 16 of them late.
    camera = OpenCVCamera(stream.address, *SIZE, fps=1 / stream.period_s, timeout_s=5)
    camera.open()
    out = np.empty((SIZE[1], SIZE[0], 3), np.uint8)

    def read() -> None:
        late_s: list[float] = []
        for _ in range(20):
            instant_ns = camera.read(out)
            late_s.append((instant_ns - stream.captured_ns[number_of(out)]) / 1e9)
        assert statistics.median(late_s) < 3 * stream.period_s + 0.05, late_s

    read()
    for _ in range(3):
        stream.sending.clear()
        threading.Timer(0.6, stream.sending.set).start()
        read()
    time.sleep(0.6)
    read()
    camera.close()


def test_a_stream_of_another_size_is_refused_with_its_own(stream: MjpegServer) -> None:
    """`open` raises RobotError with both sizes."""
    camera = OpenCVCamera(stream.address, 640, 480)
    with pytest.raises(RobotError, match="64 x 48 pixels, expected 640 x 480"):
        camera.open()


@pytest.mark.parametrize("source", [0, "/dev/video3", "rtsp://cell/1", "clip.avi"])
@pytest.mark.parametrize(
    ("option", "value", "obeyed_by"),
    [
        ("loop", False, ("clip.avi",)),
        ("timeout_s", 0.5, (0, "/dev/video3", "rtsp://cell/1")),
        ("exposure", 5.0, (0, "/dev/video3")),
        ("fourcc", "MJPG", (0, "/dev/video3")),
    ],
)
def test_an_option_without_effect_on_its_source_is_reported(
    source: int | str, option: str, value: Any, obeyed_by: tuple[int | str, ...]
) -> None:
    """`conflicts` names it; each kind of source has its own options."""
    options = OpenCVOptions(source=source, **{option: value})
    assert [fault.path for fault in options.conflicts()] == (
        [] if source in obeyed_by else [option]
    )
