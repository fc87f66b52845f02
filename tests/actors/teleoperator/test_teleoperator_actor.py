"""A teleoperator's process: what it says of a device that works, fails and comes back."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pytest

from holdfast.actors.control.plan_memory import SEGMENT_BYTES
from holdfast.actors.control.teleop_register import (
    Presses,
    TeleopReading,
    pack_reading,
    teleop_bytes,
    unpack_reading,
)
from holdfast.actors.driver import registers
from holdfast.actors.driver.registers import DriverPhase, RobotState
from holdfast.actors.runtime.actor import boot_in_memory
from holdfast.actors.runtime.device_configs import SpecConfig
from holdfast.actors.runtime.link_messages import CommandReply, ExitReason
from holdfast.actors.runtime.status_board import StatusBoardReader
from holdfast.actors.runtime.supervisor_link import SupervisorLink
from holdfast.actors.teleoperator.teleoperator_actor import TeleoperatorActor
from holdfast.robot.base import RobotSpec
from holdfast.robot.dataset.dataset_reader import Dataset
from holdfast.robot.dataset.recording_schema import RecordingSchema
from holdfast.tests.robot.dataset import recordings
from holdfast.tests.robot.gamepads import Pad, plug
from holdfast.tests.waiting import wait_until
from holdfast.transport.seqlock import Seqlock, SteadyReader

SPEC = RobotSpec(("a", "b"), ("b", "a"), lower=(-9, -9), upper=(9, 9), max_rate=(2, 2))

PAD = """
from pathlib import Path
import time
from holdfast import Teleoperator


class Pad(Teleoperator):
    def __init__(self, file):
        self.action_names = ("y", "a")  # in another order, and under another name
        self.file = Path(file)
        self.seen = (0.0, 0.0)

    def connect(self):
        if not self.file.exists():
            raise OSError("no pad is plugged in")

    def locate(self, position, in_command):
        self.seen = tuple(position)

    def get_action(self, out):
        value = float(self.file.read_text())
        out[:] = [self.seen[0] + value, self.seen[1] - value]
        return time.monotonic_ns()

    def pressed(self):
        return ("success",) if self.file.read_text() == "3" else ()

    def close(self):
        pass
"""


class Rig(NamedTuple):
    """A teleoperator actor that runs, seen from outside."""

    reader: SteadyReader
    board: StatusBoardReader
    link: SupervisorLink

    def reading(self) -> TeleopReading | None:
        block = self.reader.read()
        return None if block is None else unpack_reading(block, 2)

    def says(self, *action: float) -> TeleopReading:
        """The reading, once it is `action` and recent."""

        def said() -> TeleopReading | None:
            found = self.reading()
            recent = found and time.monotonic_ns() - found.instant_ns < 200_000_000
            return found if found and recent and found.action.tolist() == list(action) else None

        return wait_until(said, f"the teleoperator says {action}")


@contextmanager
def teleoperator(rundir: Path, presses: Presses | None = None, **entry: Any) -> Iterator[Rig]:
    """The actor, until it is asked to stop; its robot is at a = 1, b = 5."""
    config = {
        "robot": "r",
        "spec": msgspec.to_builtins(SpecConfig.of(SPEC)),
        "register": "r/teleop/reading",
        "plan": "r/plan",
        "state": "r/state",
        "period_ns": 10_000_000,
        "import_path": str(rundir),
        **entry,
    }
    segments = {
        "r/teleop/reading": Seqlock.size_for(teleop_bytes(2)),
        "r/state": Seqlock.size_for(registers.state_bytes(2)),
        "r/plan": SEGMENT_BYTES,
    }
    boot, link, supervisor = boot_in_memory(
        "teleoperator", "r/teleop", config, segments, rundir=rundir
    )
    measured = RobotState(1, 1, 1, DriverPhase.ENABLED, np.array([5, 1], np.float32))
    Seqlock.owned(memoryview(boot.memory["r/state"])).write(registers.pack_state(measured))
    if presses is not None:
        said = TeleopReading(1, 1, np.zeros(2, np.float32), presses)
        register = Seqlock.owned(memoryview(boot.memory["r/teleop/reading"]))
        register.write(pack_reading(said))
    actor = TeleoperatorActor(boot, link)
    thread = threading.Thread(target=actor.main, daemon=True)
    thread.start()
    try:
        yield Rig(
            SteadyReader(boot.memory["r/teleop/reading"]),
            StatusBoardReader(boot.memory["r/teleop/board"]),
            supervisor,
        )
    finally:
        supervisor.command("stop")
        thread.join(60)
        supervisor.close()
        link.close()
        assert not thread.is_alive()


def test_a_device_of_ones_own_is_read_in_the_robots_order_and_comes_back_when_it_failed(
    tmp_path: Path,
) -> None:
    """It gets the robot's pose in its own order; while it is absent its last pose grows old."""
    (tmp_path / "pad_of_mine.py").write_text(PAD)
    plug = tmp_path / "pad"
    entry = {
        "driver": "pad_of_mine:Pad",
        "options": {"file": str(plug)},
        "rename": {"y": "b"},
    }
    with teleoperator(tmp_path, presses=Presses(success=7), **entry) as rig:
        absent = "no pad is plugged in"
        wait_until(lambda: absent in (rig.board.report() or {}).get("reason", ""), "it says why")
        plug.write_text("2")
        rig.says(-1.0, 7.0)  # a = 1 - 2, b = 5 + 2
        plug.write_text("3")
        pressed = rig.says(-2.0, 8.0)
        assert pressed.presses.success > 7 and pressed.presses.take_over == 0
        plug.unlink()
        wait_until(lambda: "FileNotFoundError" in (rig.board.report() or {})["reason"], "it failed")
        old = rig.reading()
        plug.write_text("1")
        back = rig.says(0.0, 6.0)
        assert old is not None and back.instant_ns > old.instant_ns


def test_keys_reach_the_keyboard_by_a_command_and_move_the_pose(tmp_path: Path) -> None:
    """As `actorctl teleop` sends them; the answer names the joints and who is in command."""
    with teleoperator(tmp_path, driver="keyboard") as rig:
        rig.says(1.0, 5.0)
        rig.link.command("key", {"keys": " "}, id=4)
        wait_until(lambda: (r := rig.reading()) and r.presses.take_over == 1, "the press")


def test_a_gamepad_that_is_unplugged_is_an_outage_that_ends_by_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While it is away nothing is said; then the pose is the robot's, and its buttons count."""
    pad = Pad()
    plug(monkeypatch, None)
    with teleoperator(tmp_path, driver="gamepad") as rig:
        absent = "no gamepad is plugged in; there are input devices, none a gamepad: "
        wait_until(lambda: absent in (rig.board.report() or {}).get("reason", ""), "it waits")
        assert rig.reading() is None
        plug(monkeypatch, pad)
        rig.says(1.0, 5.0)
        pad.press("start")
        wait_until(lambda: (r := rig.reading()) and r.presses.take_over == 1, "the press")
        pad.unplug()
        gone = "Test Pad was unplugged"
        wait_until(lambda: gone in (rig.board.report() or {})["reason"], "it is gone")
        rig.says(1.0, 5.0)
        pad.press("start")
        wait_until(lambda: (r := rig.reading()) and r.presses.take_over == 2, "it is back")
    pad.unplug()


def test_an_episode_is_loaded_by_a_command_and_said_from_its_first_pose(tmp_path: Path) -> None:
    """What is not there, or asked of a device that plays none, is refused with the reason."""
    root = tmp_path / "data"
    recordings.dataset(root, RecordingSchema(100, ("x",), ("b", "y"), {}), (4,))
    first = Dataset(root).episode(0).actions[0]
    asked = {"dataset": str(root), "episode": 0, "speed": 0.5}
    with teleoperator(tmp_path, driver="replay", fps=100.0, rename={"y": "a"}) as rig:
        rig.link.command("play", {**asked, "episode": 3}, id=1)
        assert "no episode 3: it has 1" in str(_answer(rig.link, 1).error)
        rig.link.command("play", {**asked, "speed": "fast"}, id=2)
        assert "speed" in str(_answer(rig.link, 2).error)
        rig.link.command("play", asked, id=3)
        result = _answer(rig.link, 3).result
        assert result is not None and result["frames"] == 4 and not result["over"]
        assert result["pose"] == pytest.approx({"a": first[1], "b": first[0]})
        rig.says(float(first[1]), float(first[0]))
    with teleoperator(tmp_path, driver="keyboard") as rig:
        rig.link.command("play", asked, id=4)
        assert "plays no episodes" in str(_answer(rig.link, 4).error)


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({"driver": "nothing"}, "no teleoperator driver 'nothing'"),
        ({"driver": "expert"}, "knows the simulated cell only"),
        (
            {"driver": "pad_of_mine:Pad", "options": {"file": "f"}},
            "its actions are y, a; the robot's are a, b",
        ),
        ({"driver": "pad_of_mine:Pad"}, "pad_of_mine:Pad: it needs file"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_device_that_cannot_be_one_is_refused_with_the_reason(
    tmp_path: Path, entry: dict[str, Any], said: str
) -> None:
    """Unknown drivers, other joints and wrong options end the actor with a sentence."""
    (tmp_path / "pad_of_mine.py").write_text(PAD)
    with teleoperator(tmp_path, **entry) as rig:
        message = wait_until(lambda: _farewell(rig.link), "it says why it ends")
    assert said in message


def _answer(link: SupervisorLink, id: int) -> CommandReply:
    def answer() -> CommandReply | None:
        messages, _ = link.messages()
        found = (m for m in messages if isinstance(m, CommandReply) and m.id == id)
        return next(found, None)

    return wait_until(answer, f"command {id} is answered")


def _farewell(link: SupervisorLink) -> str | None:
    messages, _ = link.messages()
    return next((m.reason for m in messages if isinstance(m, ExitReason)), None)
