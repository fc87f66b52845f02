"""`So101`: an SO-101 arm behind a pseudo-terminal, which speaks the protocol of its motors.

Everything that is written to a motor is recorded with its instant and the pose at that time. The
arm may be tortured: damaged answers, lost ones, a silent bus, an adapter that is unplugged and
comes back under the same path, a motor that overheats, a power cut.
"""

from __future__ import annotations

import json
import os
import pty
import random
import select
import threading
import time
import tty
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

from holdfast.tests.feetech.bus import FeetechBus
from holdfast.tests.feetech.sts3215 import GOAL, OFFSET, PRESENT, TORQUE, Sts3215

JOINTS = ("shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll", "gripper")
NAMES = tuple(f"{joint}.pos" for joint in JOINTS)
RANGES = ((750, 3450), (850, 3250), (860, 3080), (900, 3200), (0, 4095), (2030, 3500))
OFFSETS = (-21, 1030, -850, 300, -1200, 77)
POSE = (2100, 2048, 1970, 2050, 2047, 2600)
"""As the registers say it, with the offsets."""
_SAG = (0, 14, 9, 4, 0, 0)


class Write(NamedTuple):
    """One write to one motor; `present` is its position at `at_ns`, in its own steps."""

    at_ns: int
    motor: int
    address: int
    data: bytes
    present: int

    @property
    def value(self) -> int:
        return int.from_bytes(self.data, "little")


class So101:
    """Its port is `port`, a link to the terminal of the day. Use it in a `with`.

    Attributes:
        silent: it hears requests and answers nothing.
        damage: the share of answers whose checksum is wrong.
        lose: the share of answers that are not sent.
        answer_s: how long it takes to answer.
    """

    def __init__(self, folder: Path, name: str = "ttyACM0", seed: int = 1) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.port = folder / name
        self.motors: dict[int, Sts3215] = {}
        for number, (low_high, offset, pose, sag) in enumerate(
            zip(RANGES, OFFSETS, POSE, _SAG, strict=True), 1
        ):
            rest = None if not sag else low_high[0] + offset
            motor = Sts3215(number, pose + offset, sag, rest)
            motor.store(MIN_LIMIT=low_high[0], MAX_LIMIT=low_high[1], OFFSET=offset)
            self.motors[number] = motor
        self.silent = False
        self.damage = self.lose = self.answer_s = 0.0
        self.writes: list[Write] = []
        self.answers = 0
        self._random = random.Random(seed)
        self._bus = FeetechBus(self.motors, self._record)
        self._lock = threading.RLock()
        self._ends: tuple[int, int] | None = None
        self._pulled: tuple[int, int] | None = None
        self._closed = threading.Event()
        self._closed.set()
        self._wake, self._waker = os.pipe()
        self._over = False
        self._now_ns = time.monotonic_ns()
        self._thread = threading.Thread(target=self._serve, name="so101", daemon=True)

    def calibration(self, folder: Path, name: str, **changes: int) -> Path:
        """Write the arm's calibration file as LeRobot keeps it, below `folder`; `changes` are the
        offsets of joints that differ from the motors'."""
        file = folder / f"{name}.json"
        file.parent.mkdir(parents=True, exist_ok=True)
        entries = {
            joint: {
                "id": number,
                "drive_mode": 0,
                "homing_offset": changes.get(joint, offset),
                "range_min": low,
                "range_max": high,
            }
            for number, (joint, offset, (low, high)) in enumerate(
                zip(JOINTS, OFFSETS, RANGES, strict=True), 1
            )
        }
        file.write_text(json.dumps(entries))
        return file

    def hold(self) -> None:
        """Somebody configured the arm and left it holding its pose, as an earlier driver would."""
        with self._lock:
            self._pass()
            for motor in self.motors.values():
                motor.store(P_GAIN=16, D_GAIN=32, I_GAIN=0)
                motor.store(RETURN_DELAY=0)
                motor.put(41, 254)
                motor.put(GOAL, round(motor.get(PRESENT) + motor.sag))
                motor.put(TORQUE, 1)
            self.motors[6].store(MAX_TORQUE=500, PROTECTION_CURRENT=250, OVERLOAD_TORQUE=25)

    def hand(self, **steps: int) -> None:
        """A person's hand has moved the limp arm: joints stay where it put them, in the steps that
        the registers say."""
        with self._lock:
            for joint, value in steps.items():
                motor = self.motors[JOINTS.index(joint) + 1]
                motor.position, motor.rest = float(value + motor.get(OFFSET)), None

    def __enter__(self) -> Self:
        self._pass()
        self.plug()
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over = True
        os.write(self._waker, b"!")
        self._thread.join()
        self.unplug()
        os.close(self._wake)
        os.close(self._waker)

    def plug(self) -> None:
        """The adapter appears, under the same path; the motors had power all the time."""
        with self._lock:
            ends = pty.openpty()
            tty.setraw(ends[1])
            self._bus.forget()
            self.port.symlink_to(os.ttyname(ends[1]))
            self._ends = ends
            os.write(self._waker, b"!")

    def unplug(self) -> None:
        """The adapter disappears with its path: whoever has the port open gets errors."""
        with self._lock:
            self._pulled, self._ends = self._ends, None
            self.port.unlink(missing_ok=True)
            self._closed.clear()
        if self._thread.is_alive():  # it may be waiting for these very ends
            os.write(self._waker, b"!")
            assert self._closed.wait(10)
        else:
            self._close()

    def cut_power(self) -> None:
        """Of the motors, for an instant."""
        with self._lock:
            for motor in self.motors.values():
                motor.cut_power()

    @property
    def pose(self) -> dict[str, int]:
        """Where each joint is now, in its own steps."""
        with self._lock:
            self._pass()
            return {
                joint: self.motors[number].get(PRESENT) for number, joint in enumerate(JOINTS, 1)
            }

    @property
    def torques(self) -> tuple[int, ...]:
        """Of each motor, whether its torque is on."""
        return tuple(motor.get(TORQUE) for motor in self.motors.values())

    def written(self, address: int, since_ns: int = 0) -> list[Write]:
        """The writes to a register since then."""
        with self._lock:
            return [w for w in self.writes if w.address == address and w.at_ns >= since_ns]

    def _record(self, number: int, address: int, data: bytes) -> None:
        present = self.motors[number].get(PRESENT)
        self.writes.append(Write(self._now_ns, number, address, data, present))

    def _pass(self) -> None:
        self._now_ns = time.monotonic_ns()
        for motor in self.motors.values():
            motor.move(self._now_ns)

    def _serve(self) -> None:
        _run_first()
        while not self._over:
            with self._lock:
                end = self._ends[0] if self._ends else -1
            readable, _, _ = select.select([self._wake, *([end] if end >= 0 else [])], [], [], 0.02)
            if self._wake in readable:
                os.read(self._wake, 64)
            with self._lock:
                if not self._closed.is_set():
                    self._close()
                self._pass()
                if end in readable and self._ends and self._ends[0] == end:
                    self._answer(end)

    def _close(self) -> None:
        for end in self._pulled or ():
            os.close(end)
        self._pulled = None
        self._closed.set()

    def _answer(self, end: int) -> None:
        try:
            data = os.read(end, 4096)
        except OSError:
            return
        for answer in self._bus.receive(data, self._now_ns):
            if self.silent or self._random.random() < self.lose:
                continue
            if self._random.random() < self.damage:
                answer = answer[:-1] + bytes((answer[-1] ^ 0x55,))
            if self.answer_s:
                time.sleep(self.answer_s)
            self.answers += 1
            os.write(end, answer)


def _run_first() -> None:
    """Have the kernel run this thread before others as soon as there is a question, where it may:
    the library waits 50 ms for an answer, and a busy machine has an ordinary thread wait for
    longer."""
    with suppress(PermissionError):
        os.sched_setscheduler(threading.get_native_id(), os.SCHED_RR, os.sched_param(1))
