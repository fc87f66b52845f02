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

FLEET = """
name: embedded
services:
  pick: {policy: constant, checkpoint: conveyor-flow}
robots:
  - {name: r1, service: pick, cameras: {overhead: {}, wrist: {}}}
"""


@pytest.fixture
def fleet_file(tmp_path: Path) -> Path:
    path = tmp_path / "fleet.yaml"
    path.write_text(FLEET)
    return path


@pytest.mark.timeout(120)
def test_a_fleet_lives_as_long_as_its_with_block(fleet_file: Path) -> None:
    """It can be watched, commanded and looked into while it does."""
    with Fleet(fleet_file) as fleet:
        status = fleet.wait(60)
        assert {a["state"] for a in status["actors"]} == {"READY"}
        camera = fleet.camera("r1/overhead")
        frame = camera.latest()
        assert frame is not None
        assert frame.image.shape == (480, 640, 3)
        assert frame.image.std() > 5
        assert time.monotonic_ns() - frame.capture_ns < 2_000_000_000
        newer = camera.latest()
        assert newer is not None
        with pytest.raises(ControlSocketError, match="overhead"):
            fleet.camera("r1/overheat")
        fleet.pause("r1")
        assert fleet.status()["robots"][0]["paused"]
        fleet.resume("r1")
        fleet.wait(20)
        episode = fleet.status()["robots"][0]["episode"]
        fleet.reset("r1")
        assert fleet.status()["robots"][0]["episode"] > episode
        pids = [a["pid"] for a in status["actors"]]
    assert not [pid for pid in pids if psutil.pid_exists(pid)]
    with pytest.raises(ControlSocketError):
        fleet.status()


@pytest.mark.timeout(120)
def test_a_fleet_ends_with_its_script_however_that_dies(fleet_file: Path) -> None:
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
    deadline = time.monotonic() + 8
    while any(psutil.pid_exists(pid) for pid in pids):
        assert time.monotonic() < deadline, "actors outlive the script that started them"
        time.sleep(0.05)


def test_a_faulty_file_is_refused_before_anything_starts(tmp_path: Path) -> None:
    (tmp_path / "fleet.yaml").write_text(FLEET.replace("service: pick", "service: pikc"))
    with pytest.raises(FleetError, match=r"\$\.robots\[0\]\.service"):
        Fleet(tmp_path / "fleet.yaml")


def test_a_frame_from_a_fleet_is_the_readers_own(fleet_file: Path) -> None:
    """Readers map read-only: a script cannot spoil what the actors see."""
    with Fleet(fleet_file) as fleet:
        fleet.wait(60)
        frame = fleet.camera("r1/wrist").latest()
        assert frame is not None
        frame.image[:] = 0
        later = fleet.camera("r1/wrist").latest()
        assert later is not None
        assert not np.array_equal(later.image, frame.image)


@pytest.mark.timeout(120)
def test_a_fleet_that_runs_already_is_not_taken_for_its_own(tmp_path: Path) -> None:
    """The second one says so, and leaves the first alone."""
    path = tmp_path / "fleet.yaml"
    path.write_text("name: twice\nservices: {}\nrobots: []\ngateway: {enabled: false}\n")
    with Fleet(path) as first:
        with pytest.raises(FleetFailedError, match="runs already"):
            Fleet(path).start()
        assert first.wait(20)["fleet"] == "twice"


@pytest.mark.timeout(120)
def test_who_is_not_ready_in_time_is_named_with_its_reason(tmp_path: Path) -> None:
    """A robot whose service has no replica waits, and says for what."""
    path = tmp_path / "fleet.yaml"
    path.write_text(FLEET)
    with Fleet(path) as fleet:
        fleet.wait(60)
        fleet._ask(do="stop", names=["pick/0"])
        fleet.restart("r1/control")
        deadline = time.monotonic() + 20
        said = ""
        while "no replica serves" not in said:
            assert time.monotonic() < deadline, said
            with pytest.raises(TimeoutError) as late:
                fleet.wait(0.5)
            said = str(late.value)
        assert "r1 is " in said and "pick/0 is " in said


def test_a_forked_child_does_not_end_its_parents_fleet(tmp_path: Path) -> None:
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
        assert fleet.wait(20)["actors"]
