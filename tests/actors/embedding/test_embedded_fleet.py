"""`Fleet`: a whole fleet inside a `with` block of a script."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from holdfast import Fleet, FleetError, FleetFailedError
from holdfast.errors import ControlSocketError
from holdfast.tests.waiting import wait_until

FLEET = """
name: embedded
services:
  pick: {policy: constant, checkpoint: conveyor-flow}
robots:
  - name: r1
    service: pick
    cameras: {overhead: &small {width: 64, height: 48, fps: 15}, wrist: *small}
"""


@pytest.fixture
def fleet_file(tmp_path: Path) -> Path:
    path = tmp_path / "fleet.yaml"
    path.write_text(FLEET)
    return path


def test_a_fleet_lives_as_long_as_its_with_block(fleet_file: Path) -> None:
    """Status, cameras and commands work inside of it; no process outlives it."""
    with Fleet(fleet_file) as fleet:
        status = fleet.wait(60)
        assert {a["state"] for a in status["actors"]} == {"READY"}
        camera = fleet.camera("r1/overhead")
        frame = camera.latest()
        assert frame is not None
        assert frame.image.shape == (48, 64, 3)
        assert frame.image.std() > 5
        assert time.monotonic_ns() - frame.capture_ns < 60_000_000_000
        newer = camera.latest()
        assert newer is not None
        with pytest.raises(ControlSocketError, match="overhead"):
            fleet.camera("r1/overheat")
        fleet.pause("r1")
        wait_until(lambda: fleet.status()["robots"][0]["paused"], "the pause in the status")
        fleet.resume("r1")
        fleet.wait(60)
        episode = fleet.status()["robots"][0]["episode"]
        fleet.reset("r1")
        wait_until(
            lambda: fleet.status()["robots"][0]["episode"] > episode,
            "the next episode in the status",
        )
        pids = [a["pid"] for a in status["actors"]]
    assert not [pid for pid in pids if psutil.pid_exists(pid)]
    with pytest.raises(ControlSocketError):
        fleet.status()


def test_a_fleet_ends_with_a_script_that_is_killed(fleet_file: Path) -> None:
    """SIGKILL of the script ends every actor."""
    script = (
        "import sys\n"
        "from holdfast import Fleet\n"
        "with Fleet(sys.argv[1]) as fleet:\n"
        "    fleet.wait(60)\n"
        "    print(*(a['pid'] for a in fleet.status()['actors']), flush=True)\n"
        "    sys.stdin.read()\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script, fleet_file],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ,
    )
    assert process.stdout is not None
    pids = [int(pid) for pid in process.stdout.readline().split()]
    assert len(pids) > 5
    process.kill()
    process.communicate()
    wait_until(lambda: not any(psutil.pid_exists(pid) for pid in pids), "the actors' end")


def test_a_faulty_file_is_refused_before_anything_starts(tmp_path: Path) -> None:
    """FleetError with the path in the file."""
    (tmp_path / "fleet.yaml").write_text(FLEET.replace("service: pick", "service: pikc"))
    with pytest.raises(FleetError, match=r"\$\.robots\[0\]\.service"):
        Fleet(tmp_path / "fleet.yaml")


def test_a_frame_from_a_fleet_is_a_copy(fleet_file: Path) -> None:
    """Writing to it does not change the ring, which is mapped read-only."""
    with Fleet(fleet_file) as fleet:
        fleet.wait(60)
        frame = fleet.camera("r1/wrist").latest()
        assert frame is not None
        frame.image[:] = 0
        later = fleet.camera("r1/wrist").latest()
        assert later is not None
        assert not np.array_equal(later.image, frame.image)


def test_a_second_fleet_of_one_name_fails_to_start(tmp_path: Path) -> None:
    """FleetFailedError; the first one is not touched."""
    path = tmp_path / "fleet.yaml"
    path.write_text("name: twice\nservices: {}\nrobots: []\ngateway: {enabled: false}\n")
    with Fleet(path) as first:
        with pytest.raises(FleetFailedError, match="runs already"):
            Fleet(path).start()
        assert first.wait(60)["fleet"] == "twice"


def test_waiting_for_a_fleet_names_what_is_not_ready_and_why(tmp_path: Path) -> None:
    """NotReadyError has each robot and actor with its state and reason."""
    path = tmp_path / "fleet.yaml"
    path.write_text(FLEET)
    with Fleet(path) as fleet:
        fleet.wait(60)
        fleet._ask(do="stop", names=["pick/0"])
        fleet.restart("r1/control")

        def message() -> str:
            with pytest.raises(TimeoutError) as late:
                fleet.wait(0.5)
            return str(late.value) if "no replica serves" in str(late.value) else ""

        found = wait_until(message, "the reason")
        assert "r1 is " in found and "pick/0 is " in found


def test_a_forked_child_does_not_end_its_parents_fleet(tmp_path: Path) -> None:
    """`stop` in the child does nothing."""
    path = tmp_path / "fleet.yaml"
    path.write_text("name: forked\nservices: {}\nrobots: []\ngateway: {enabled: false}\n")
    with Fleet(path) as fleet:
        child = os.fork()
        if not child:
            try:
                fleet.stop()
            finally:
                os._exit(0)
        os.waitpid(child, 0)
        assert fleet.wait(60)["actors"]
