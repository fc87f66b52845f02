"""The sensor of a simulated camera and that of a video file: frames, and why there are none."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import pytest

from holdfast.actors.driver.driver import DriverActor
from holdfast.actors.runtime.actor import boot_in_memory
from holdfast.actors.runtime.link_messages import ReadyMessage
from holdfast.actors.runtime.status_board import StatusBoardReader
from holdfast.actors.runtime.supervisor_link import SupervisorLink
from holdfast.actors.sensor.sensor import SensorActor
from holdfast.tests.actors.simulated_driver import SEGMENTS, driven, running
from holdfast.tests.waiting import wait_until
from holdfast.transport.frames import FrameReader

SIMULATED = {
    "robot": "r",
    "camera": "top",
    "driver": "sim",
    "width": 160,
    "height": 120,
    "fps": 60.0,
    "segment": "r/top",
    "scene": "r/scene",
    "options": {"view": "overhead"},
}


def test_frames_carry_the_instant_of_the_scene_they_show(simulated: dict[str, object]) -> None:
    """One of the last second is read, none is of the future, and the picture is not blank."""
    with driven(simulated) as (_, memory):
        boot, link, supervisor = boot_in_memory("sensor", "r/top", SIMULATED, memory=memory)
        with running(SensorActor(boot, link), lambda: supervisor.command("stop")):
            reader = FrameReader(boot.memory["r/top"])
            wait_until(lambda: reader.number >= 3)

            def recent() -> bool:
                frame = reader.latest()
                assert frame is not None and frame.capture_ns <= time.monotonic_ns()
                assert frame.image.std() > 5, "a picture of nothing"
                return time.monotonic_ns() - frame.capture_ns < 1_000_000_000

            wait_until(recent, "a frame of the last second")
        supervisor.close()
        link.close()


def test_a_simulated_camera_without_a_robot_is_ready_and_makes_progress_and_says_why(
    simulated: dict[str, object],
) -> None:
    """Progress comes within the hang timeout that it asked for, before and after the robot."""
    boot, link, supervisor = boot_in_memory("sensor", "r/top", SIMULATED, SEGMENTS)
    memory = dict(boot.memory)
    board, reader = StatusBoardReader(memory["r/top/board"]), FrameReader(memory["r/top"])
    with running(SensorActor(boot, link), lambda: supervisor.command("stop")):
        ready = wait_until(lambda: supervisor.messages()[0], "its first message")[0]
        assert isinstance(ready, ReadyMessage)
        timeout_s = ready.hang_timeout_s
        assert timeout_s is not None

        def progress_since(count: int) -> Callable[[], bool]:
            return lambda: board.progress()[0] > count

        def stays_absent() -> None:
            wait_until(lambda: "no scene within" in reason(board))
            wait_until(progress_since(board.progress()[0]), "progress", timeout_s)
            assert "no scene within" in reason(board)

        stays_absent()
        driver_boot, driver_link, of_driver = boot_in_memory(
            "driver", "r/driver", simulated, SEGMENTS, memory
        )
        with running(DriverActor(driver_boot, driver_link), lambda: of_driver.command("stop")):
            wait_until(lambda: reader.number > 2 and not reason(board))
        of_driver.close()
        driver_link.close()
        stays_absent()
    supervisor.close()
    link.close()


VIDEO = {
    "robot": "r",
    "camera": "clip",
    "driver": "opencv",
    "width": 160,
    "height": 120,
    "fps": 60.0,
    "segment": "r/clip",
}


def write_video(path: Path, frames: int) -> None:
    draft = path.with_suffix(".draft.avi")
    writer = cv2.VideoWriter(str(draft), cv2.VideoWriter.fourcc(*"MJPG"), 60, (160, 120))
    for i in range(frames):
        writer.write(np.full((120, 160, 3), 10 * i, np.uint8))
    writer.release()
    draft.replace(path)


@contextmanager
def sensor(
    options: dict[str, object],
) -> Iterator[tuple[FrameReader, SupervisorLink, StatusBoardReader]]:
    """A sensor of a video file, until it is asked to stop."""
    boot, link, supervisor = boot_in_memory(
        "sensor", "r/clip", VIDEO | {"options": options}, {"r/clip": SEGMENTS["r/top"]}
    )
    with running(SensorActor(boot, link), lambda: supervisor.command("stop")):
        yield (
            FrameReader(boot.memory["r/clip"]),
            supervisor,
            StatusBoardReader(boot.memory["r/clip/board"]),
        )
    supervisor.close()
    link.close()


def reason(board: StatusBoardReader) -> str:
    """Why there are no frames."""
    return str((board.report() or {}).get("reason"))


def is_ready(supervisor: SupervisorLink) -> bool:
    return any(isinstance(message, ReadyMessage) for message in supervisor.messages()[0])


def test_a_camera_that_is_not_there_is_logged_once_and_opened_when_it_comes(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Tries are many; lines are one for each change, and none has a traceback."""
    caplog.set_level("INFO")
    path = tmp_path / "clip.avi"
    with sensor({"source": str(path)}) as (reader, supervisor, board):
        begun = board.progress()[0]
        wait_until(lambda: "is no file" in reason(board))
        wait_until(lambda: board.progress()[0] > begun + 2)
        assert is_ready(supervisor)
        path.write_text("no video")
        wait_until(lambda: "does not open" in reason(board))
        write_video(path, 10)
        wait_until(lambda: reader.number >= 3)
        wait_until(lambda: reason(board) == "")
        path.unlink()
    said = [record.getMessage() for record in caplog.records if record.name == "r/clip"]
    assert ["is no file" in said[0], "does not open" in said[1], "frames again" in said[2]] == [
        True
    ] * 3, said
    assert len(said) == 3
    assert not any(record.exc_info for record in caplog.records)


def test_a_video_that_is_not_to_begin_again_ends_and_stays_so(tmp_path: Path) -> None:
    """`loop: false`: every frame once, then none, and a reason; the process lives on."""
    path = tmp_path / "clip.avi"
    write_video(path, 5)
    with sensor({"source": str(path), "loop": False}) as (reader, _, board):
        wait_until(lambda: "has ended" in str((board.report() or {}).get("reason")))
        assert reader.number == 5
