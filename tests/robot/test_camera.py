"""The OpenCV camera, on files, on a stream that falls silent, and on a device that does."""

import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from holdfast.errors import RecordingEndedError, RobotError
from holdfast.robot.camera import OpenCVCamera, OpenCVOptions

SIZE = 64, 48
RGB = ((200, 30, 30), (30, 200, 30), (30, 30, 200))


def picture(rgb: tuple[int, int, int]) -> np.ndarray:
    return np.full((SIZE[1], SIZE[0], 3), rgb, np.uint8)


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
        camera.open()
        out = np.empty((SIZE[1], SIZE[0], 3), np.uint8)
        start = time.monotonic()
        for _ in range(6):
            camera.read(out)
        assert time.monotonic() - start >= 5 * period
        camera.close()


def test_a_file_that_does_not_loop_ends_with_an_error(video: str) -> None:
    """After its last frame."""
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
    with pytest.raises(RobotError, match=r"\(48, 64, 3\), expected \(480, 640, 3\)"):
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


class _TwoFramesThenSilence(BaseHTTPRequestHandler):
    """A motion-JPEG stream whose sender hangs."""

    silent_until: threading.Event

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=edge")
        self.end_headers()
        for rgb in RGB[:1] * 30:
            jpeg = cv2.imencode(".jpg", picture(rgb)[..., ::-1])[1].tobytes()
            head = f"--edge\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
            self.wfile.write(head.encode() + jpeg + b"\r\n")
        self.wfile.flush()
        self.silent_until.wait(30)

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""


@pytest.fixture
def stream() -> Iterator[str]:
    over = _TwoFramesThenSilence.silent_until = threading.Event()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _TwoFramesThenSilence)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}/"
    over.set()
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_stream_that_falls_silent_is_an_error_in_bounded_time(stream: str) -> None:
    """The pictures that came are read; then the read gives up after its timeout."""
    camera = OpenCVCamera(stream, *SIZE, timeout_s=0.5)
    camera.open()
    out = np.empty((SIZE[1], SIZE[0], 3), np.uint8)
    longest = 0.0
    with pytest.raises(RobotError, match="no further picture"):
        for _ in range(100):
            start = time.monotonic()
            try:
                camera.read(out)
            finally:
                longest = max(longest, time.monotonic() - start)
    assert np.abs(out.reshape(-1, 3).mean(axis=0) - RGB[0]).max() < 12
    assert 0.4 < longest < 5
    camera.close()


class Device:
    """Stands in for cv2.VideoCapture of a device: `waitAny` waits and grabs, as OpenCV's does."""

    pictures = 1
    waits: list[int]
    properties: dict[int, float]
    longest_exposure = 1e6

    def __init__(self, *source: Any) -> None:
        Device.waits, Device.properties = [], {}

    def isOpened(self) -> bool:  # noqa: N802 OpenCV's
        return True

    def set(self, name: int, value: float) -> bool:
        Device.properties[name] = min(value, Device.longest_exposure)
        return True

    def get(self, name: int) -> float:
        return Device.properties[name]

    def grab(self) -> bool:
        raise AssertionError("this would block, or drop the picture that waitAny grabbed")

    def retrieve(self, _: Any) -> tuple[bool, np.ndarray]:
        return True, picture(RGB[0])[..., ::-1]

    def release(self) -> None:
        pass

    @staticmethod
    def waitAny(  # noqa: N802
        streams: list["Device"], timeout_ns: int
    ) -> tuple[bool, list[int]]:
        Device.waits.append(timeout_ns)
        return len(Device.waits) <= Device.pictures, []


def test_a_device_that_falls_silent_is_an_error_in_bounded_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Every wait for a picture has the camera's timeout as its bound."""
    monkeypatch.setattr(cv2, "VideoCapture", Device)
    monkeypatch.setattr(Device, "pictures", 2)
    camera = OpenCVCamera(0, *SIZE, timeout_s=0.5)
    camera.open()
    out = np.empty((SIZE[1], SIZE[0], 3), np.uint8)
    camera.read(out)
    np.testing.assert_array_equal(out, picture(RGB[0]))
    with pytest.raises(RobotError, match=r"no further picture within 0\.5 s"):
        camera.read(out)
    assert Device.waits == [500_000_000] * 3


def test_a_devices_exposure_is_set_or_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """By hand, at the value asked for; a device that takes another is not used silently."""
    monkeypatch.setattr(cv2, "VideoCapture", Device)
    monkeypatch.setattr(Device, "pictures", 9)
    options = OpenCVOptions(source=0, exposure=157)
    camera = OpenCVCamera.of(options, *SIZE, 30.0)
    camera.open()
    assert Device.properties[cv2.CAP_PROP_EXPOSURE] == 157
    assert Device.properties[cv2.CAP_PROP_AUTO_EXPOSURE] == 1
    camera.close()
    monkeypatch.setattr(Device, "longest_exposure", 100)
    with pytest.raises(RobotError, match="did not take exposure 157, it has 100"):
        camera.open()


@pytest.mark.parametrize("source", [0, "/dev/video3", "rtsp://cell/1", "clip.avi"])
@pytest.mark.parametrize(
    ("option", "value", "obeyed_by"),
    [
        ("loop", False, ("clip.avi",)),
        ("timeout_s", 0.5, (0, "/dev/video3", "rtsp://cell/1")),
        ("exposure", 5.0, (0, "/dev/video3")),
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
