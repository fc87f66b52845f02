"""`actorctl robots calibrate` of a LeRobot robot: the library's own procedure, at the terminal."""

from __future__ import annotations

import contextlib
import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from holdfast.tests.feetech.so101 import So101
from holdfast.tests.waiting import wait_until

LIMITS = (9, 10, 11, 12, 31, 32)
"""Addresses of the registers in which a motor keeps its range and its zero."""


def test_the_librarys_procedure_asks_at_the_terminal_and_writes_to_the_motors(
    lerobot: Path, path: str, arm: So101, options: dict[str, Any], tmp_path: Path
) -> None:
    """ENTER has it write the calibration file to the motors, as it says itself."""
    robot = {"name": "left", "service": "none", "driver": "lerobot", "python": str(lerobot)}
    fleet = {"name": "calibrated", "robots": [{**robot, "options": options}]}
    (tmp_path / "fleet.yaml").write_text(yaml.safe_dump(fleet))
    ours, theirs = pty.openpty()
    os.set_blocking(ours, False)
    process = subprocess.Popen(
        [Path(sys.executable).parent / "actorctl", "robots", "calibrate", "left"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": path},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    said = b""

    def asked() -> bool:
        nonlocal said
        with contextlib.suppress(BlockingIOError):
            said += os.read(ours, 4096)
        assert process.poll() is None, said.decode()
        return b"Press ENTER to use provided calibration file" in said

    try:
        wait_until(asked, "the library asks", within_s=300)
        written = len(arm.writes)
        os.write(ours, b"\n")
        assert process.wait(300) == 0, said
    finally:
        process.kill()
        process.wait()
        os.close(theirs)
        os.close(ours)
    assert {write.address for write in arm.writes[written:]} & set(LIMITS)
