"""The systemd unit, by systemd's own checker. No systemd runs here as process 1: the messages that
the supervisor sends it are tested with a socket of the test's."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

UNIT = Path(__file__).parents[2] / "deploy" / "systemd" / "holdfast@.service"
SUPERVISOR = Path(sys.executable).parent / "supervisor"

verified = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="needs systemd-analyze (Debian's systemd)"
)


def complaints(text: str, directory: Path) -> str:
    """What systemd-analyze says about a unit, whose program and folder are of this machine."""
    folder = directory / "etc"
    folder.mkdir(exist_ok=True)
    text = text.replace("/opt/holdfast/bin/supervisor", str(SUPERVISOR))
    file = directory / "holdfast@cell1.service"
    file.write_text(text.replace("/etc/holdfast", str(folder)))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", file],
        capture_output=True,
        text=True,
        check=False,
    )
    said = done.stdout + done.stderr
    # What this machine's own units lack is not about ours.
    return "\n".join(line for line in said.splitlines() if file.name in line)


def test_what_torch_compiled_outlives_a_restart() -> None:
    """Its cache lies in the unit's own directory: /tmp is private and lost."""
    unit = UNIT.read_text()
    (cache,) = re.findall(r"^Environment=TORCHINDUCTOR_CACHE_DIR=(\S+)$", unit, re.MULTILINE)
    (name,) = re.findall(r"^CacheDirectory=(\S+)$", unit, re.MULTILINE)
    assert Path(cache).is_relative_to(f"/var/cache/{name}")


@verified
def test_systemd_finds_nothing_wrong_with_the_unit(tmp_path: Path) -> None:
    """No unknown key, no value that it cannot read, no program that is not there."""
    assert complaints(UNIT.read_text(), tmp_path) == ""


@verified
def test_a_unit_with_an_unknown_key_is_complained_about(tmp_path: Path) -> None:
    """The check of the other test can fail."""
    text = UNIT.read_text().replace("LimitRTPRIO", "LimitRTRIO")
    assert "LimitRTRIO" in complaints(text, tmp_path)
