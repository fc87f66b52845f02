"""Driver of a simulated robot, sensor and witness in this process: what they publish."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import msgspec
import numpy as np
import pytest

from holdfast.actors.control.missed_ticks import pauses_in
from holdfast.actors.driver import registers
from holdfast.actors.driver.driver import DriverActor
from holdfast.actors.driver.registers import CommandKind, DriverPhase, RobotCommand, RobotState
from holdfast.actors.driver.wake import Waker
from holdfast.actors.jitter_probe import JitterProbeActor
from holdfast.actors.runtime.actor import EXIT_CRASHED, Actor, boot_in_memory
from holdfast.actors.runtime.device_configs import SpecConfig
from holdfast.actors.runtime.link_messages import ExitReason, ReadyMessage
from holdfast.actors.runtime.status_board import StatusBoardReader
from holdfast.actors.runtime.supervisor_link import SupervisorLink
from holdfast.actors.sensor.sensor import SensorActor
from holdfast.robot.sim import SPEC
from holdfast.robot.sim.scene import SIZE, Scene, unpack
from holdfast.tests.waiting import wait_until
from holdfast.transport.frame_ring import FrameRing
from holdfast.transport.frames import FrameReader
from holdfast.transport.seqlock import Seqlock

SEGMENTS = {
    "r/scene": Seqlock.size_for(SIZE),
    "r/command": Seqlock.size_for(registers.command_bytes(5)),
    "r/state": Seqlock.size_for(registers.state_bytes(7)),
    "r/top": FrameRing.size_for((120, 160, 3)),
    "witness/pauses": Seqlock.size_for(1024),
}


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


@contextmanager
def running(actor: Actor, stop: Callable[[], object]) -> Iterator[Actor]:
    """Run an actor's three phases in a thread; ends it, and fails if it crashed."""
    codes: list[int] = []
    thread = threading.Thread(target=lambda: codes.append(actor.main()), daemon=True)
    thread.start()
    try:
        yield actor
    finally:
        stop()
        thread.join(60)
    assert codes == [0]


def test_a_driver_that_has_ended_leaves_nothing_frozen(simulated: dict[str, object]) -> None:
    """What a program that goes on in its process had then is collected again."""
    with driven(simulated):
        assert gc.get_freeze_count()
    assert not gc.get_freeze_count()


@pytest.fixture
def simulated(tmp_path: Path) -> dict[str, object]:
    """The configuration of a simulated robot's driver."""
    return {
        "robot": "r",
        "driver": "sim",
        "options": {"seed": 5},
        "spec": msgspec.to_builtins(SpecConfig.of(SPEC)),
        "scene": "r/scene",
        "state": "r/state",
        "command": "r/command",
        "wake": str(tmp_path / "wake"),
        "state_dir": str(tmp_path / "state"),
        "tick_ns": 33_333_333,
    }


@contextmanager
def driven(config: dict[str, object]) -> Iterator[tuple[Actor, dict[str, Any]]]:
    """A driver that runs, and its memory."""
    boot, link, supervisor = boot_in_memory("driver", "r/driver", config, SEGMENTS)
    with running(DriverActor(boot, link), lambda: supervisor.command("stop")) as actor:
        scene = Seqlock(boot.memory["r/scene"], writable=False)
        wait_until(lambda: scene.read() is not None)
        yield actor, dict(boot.memory)
    supervisor.close()
    link.close()


def scene_in(memory: dict[str, Any]) -> Scene:
    """The scene that the driver published last."""
    block = Seqlock(memory["r/scene"], writable=False).read()
    assert block is not None
    return unpack(block)


def said(memory: dict[str, Any]) -> RobotState | None:
    """The state that the driver published last; None before the first."""
    block = Seqlock(memory["r/state"], writable=False).read()
    return None if block is None else registers.unpack_state(block, 7)


def test_a_simulated_robot_lives_on_without_commands(
    simulated: dict[str, object],
) -> None:
    """The belt goes on in real time and the arm holds."""
    with driven(simulated) as (_, memory):
        first = scene_in(memory)
        wait_until(lambda: scene_in(memory).steps >= first.steps + 24, "the belt's steps")
        later = scene_in(memory)
        assert later.travel > first.travel
        assert np.allclose(later.position, first.position, atol=1e-9)
        state = said(memory)
        assert state is not None and state.phase is DriverPhase.ATTACHED
        assert state.episode is not None and state.episode.task == later.task


def test_a_simulated_arm_follows_its_commands(simulated: dict[str, object]) -> None:
    """Each is a step from the last one; the state comes back by the register."""
    target = np.array([0.1, 0.1, 0.2, 0.0, 0.5], np.float32)
    with driven(simulated) as (_, memory):
        register, waker = Seqlock(memory["r/command"], writable=True), Waker(str(simulated["wake"]))
        wait_until(lambda: said(memory))
        sequence = 0

        def there() -> bool:
            nonlocal sequence
            sequence, now_ns = sequence + 1, time.monotonic_ns()
            deadline_ns, kind = now_ns + 10**9, CommandKind.ACTION
            command = RobotCommand(1, sequence, now_ns, deadline_ns, kind, target)
            register.write(registers.pack_command(command))
            waker.wake()
            state = said(memory)
            assert state is not None
            return bool(np.allclose(state.state[:5], target, atol=0.01))

        wait_until(there)
        state = said(memory)
        assert state is not None and state.phase is DriverPhase.ENABLED and not state.refused
        waker.close()


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


def test_the_witness_publishes_the_pauses_that_it_overslept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A pause of its own process stands for one of the machine: both make it oversleep."""
    boot, link, supervisor = boot_in_memory(
        "witness", "witness", {"segment": "witness/pauses", "rate_hz": 50.0}, SEGMENTS
    )
    actor = JitterProbeActor(boot, link)
    sleep = time.sleep
    begun: list[int] = []

    def oversleep(seconds: float) -> None:
        if threading.current_thread() is not threading.main_thread() and not begun:
            begun.append(time.monotonic_ns())
            seconds += 0.03
        sleep(seconds)

    monkeypatch.setattr(time, "sleep", oversleep)
    with running(actor, lambda: supervisor.command("stop")):
        register = Seqlock(boot.memory["witness/pauses"], writable=False)

        def provoked() -> tuple[int, int] | None:
            # The machine may pause by itself before.
            found = pauses_in(register.read())
            return next((p for p in found if begun and p[1] > begun[0] + 25_000_000), None)

        start_ns, end_ns = wait_until(provoked)
    assert end_ns - start_ns >= 25_000_000
    assert begun[0] - 20_000_000 <= start_ns <= end_ns <= time.monotonic_ns()
    assert pauses_in(None) == []
    supervisor.close()
    link.close()


def test_a_rest_that_fails_ends_the_driver_with_the_reason(
    simulated: dict[str, object],
) -> None:
    """The log, the supervisor and the exit code say that the torque is still on."""
    config = simulated | {"at_stop": "torque_off"}
    boot, link, supervisor = boot_in_memory("driver", "r/driver", config, SEGMENTS)
    supervisor.command("stop", id=1)
    assert DriverActor(boot, link).main() == EXIT_CRASHED
    said = supervisor.messages()[0][-1]
    assert isinstance(said, ExitReason)
    assert said.reason.startswith("the torque is not off: release: SimRobot cannot cut the torque")
    supervisor.close()
    link.close()
