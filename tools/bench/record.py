"""What recording costs the control loops: two robots with three cameras of 640x480 at 30 Hz each.

    actorctl bench record [--quick] [--json] [--codec CODEC]

The same fleet twice, without and with a recorder per robot, for the same time. `ticks` is how late
a tick began; `missed` counts those that began a period late or more by the loop itself, `machine`
those that the witness saw the machine miss. `cpu` is what one recorder used, in percent of one
processor. Of the recorded rows, `repeated` images stand for one that was not there, and `dropped`
are those that the recorder was too slow for; `yields` is 1 if it kept up with less processor time
than others get. The dataset is verified at the end.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import msgspec
import psutil

from ...actors.control.plan_memory import PLAN_BYTES
from ...actors.control.tick_log import TickReader
from ...actors.embedding.embedded_fleet import Fleet
from ...actors.runtime.runtime_dir import SOCKET, runtime_base
from ...actors.supervision.control_socket import ask
from ...errors import ControlSocketError
from ...policy.base import CameraFeature, PolicySpec
from ...policy.synthetic import write_spec
from ...robot.dataset.verification import verify
from . import figures
from .driver import mapped
from .peers.work import CAMERAS, HEIGHT, WIDTH
from .recorded_robot import JOINTS, PanningCamera, StillArm

HZ = 30.0
ROBOTS = ("r1", "r2")
POLL_S = 0.25
START_S = 120.0
BEGIN_S = 60.0
SETTLE_S = 1.5
"""A missed tick is judged a second later."""


def main() -> int:
    parser = figures.parser("record", __doc__, "for 8 s each")
    parser.add_argument("--seconds", type=figures.count, default=60, help="of each, 60 unless said")
    parser.add_argument("--codec", default="h264", help="h264 unless said")
    options = parser.parse_args()
    about = figures.machine()
    seconds = 8.0 if options.quick else float(options.seconds)
    rows = measure(seconds, None) + measure(seconds, options.codec)
    report = {"bench": "record", "machine": about, "rows": rows}
    print(json.dumps(report) if options.json else figures.text(report))
    return 0


def measure(seconds: float, codec: str | None) -> list[dict[str, Any]]:
    """The rows of one fleet, which records with `codec`, or not."""
    with tempfile.TemporaryDirectory(prefix="hf-") as name:
        directory = Path(name)
        os.environ.update(HOLDFAST_RUNTIME=f"{name}/r", HOLDFAST_STATE=f"{name}/s")
        with Fleet(fleet_file(directory, codec)) as fleet:
            fleet.wait(START_S)
            socket = runtime_base() / fleet.name / SOCKET
            if codec is not None:
                for robot in ROBOTS:
                    begin(socket, robot)
            late_ms, before, cpu_s = watched(fleet, socket, seconds)
            time.sleep(SETTLE_S)
            after = fleet.status()
            if codec is not None:
                for robot in ROBOTS:
                    ask(socket, do="episode_stop", names=[robot], timeout_s=130.0)
        rows = [tick_row(late_ms, before, after, codec)]
        if codec is not None:
            for robot in ROBOTS:
                report = _row(after, f"{robot}/recorder")["report"]
                found = verify(directory / robot)
                counts = {key: report[key] for key in ("rows", "repeated", "dropped")}
                counts["whole"] = int(found.whole)
                counts["yields"] = int(report["yields"])
                percent = 100 * cpu_s[robot] / seconds
                case = f"holdfast/recorder/{codec}"
                rows.append(figures.row(case, [percent], "% cpu", robot=robot, **counts))
        return rows


def begin(socket: Path, robot: str) -> None:
    """Begin an episode of `robot`, as soon as its control loop has executed a step."""
    until_s = time.monotonic() + BEGIN_S
    while True:
        try:
            reset = ask(socket, do="reset", names=[robot], timeout_s=BEGIN_S)
            args = {"episode": reset["result"]["episode"]}
            ask(socket, do="episode_start", names=[robot], args=args, timeout_s=BEGIN_S)
        except ControlSocketError as error:
            if time.monotonic() > until_s:
                raise SystemExit(
                    f"{robot}: no episode begun within {BEGIN_S:g} s: {error}"
                ) from error
            time.sleep(0.1)
        else:
            return


def watched(
    fleet: Fleet, socket: Path, seconds: float
) -> tuple[list[float], dict[str, Any], dict[str, float]]:
    """How late the ticks of both robots began, in ms; the status at the begin; and the processor
    time that each recorder used."""
    logs = [
        TickReader(memoryview(mapped(socket, f"{robot}/plan"))[PLAN_BYTES:], *(2 * [len(JOINTS)]))
        for robot in ROBOTS
    ]
    before = fleet.status()
    pids = {row["name"]: row["pid"] for row in before["actors"]}
    recorders = {
        robot: psutil.Process(pids[f"{robot}/recorder"])
        for robot in ROBOTS
        if f"{robot}/recorder" in pids
    }
    used = {robot: _cpu_s(process) for robot, process in recorders.items()}
    late_ms: list[float] = []
    until_s = time.monotonic() + seconds
    while time.monotonic() < until_s:
        time.sleep(POLL_S)
        late_ms += [tick.lateness_ns / 1e6 for log in logs for tick in log.read()]
    return late_ms, before, {r: _cpu_s(p) - used[r] for r, p in recorders.items()}


def tick_row(
    late_ms: list[float], before: dict[str, Any], after: dict[str, Any], codec: str | None
) -> dict[str, Any]:
    def missed(key: str) -> int:
        return sum(a[key] - b[key] for a, b in zip(after["robots"], before["robots"], strict=True))

    case = f"holdfast/ticks/{'no recording' if codec is None else codec}"
    counts = {"missed": missed("missed_ticks"), "machine": missed("missed_ticks_machine")}
    return figures.row(case, late_ms, "ms", **counts)


def fleet_file(directory: Path, codec: str | None) -> Path:
    """A fleet file in `directory`: two robots, and a policy that holds them."""
    spec = PolicySpec(
        model="hold",
        revision="1",
        cameras=tuple(CameraFeature(name, WIDTH, HEIGHT) for name in CAMERAS),
        state_names=JOINTS,
        action_names=JOINTS,
        chunk_size=60,
        fps=HZ,
    )
    write_spec(directory / "hold", spec)
    camera = {
        "driver": f"{PanningCamera.__module__}:{PanningCamera.__name__}",
        "width": WIDTH,
        "height": HEIGHT,
        "fps": HZ,
        "frozen_after_s": 0,
    }
    robots = [
        {
            "name": name,
            "driver": f"{StillArm.__module__}:{StillArm.__name__}",
            "service": "hold",
            "fps": HZ,
            "cameras": {view: {**camera, "options": {"view": view}} for view in CAMERAS},
            **({"record": {"root": name, "codec": codec}} if codec else {}),
        }
        for name in ROBOTS
    ]
    fleet = {
        "name": "bench",
        "services": {"hold": {"policy": "constant", "checkpoint": "hold"}},
        "robots": robots,
        "gateway": {"enabled": False},
    }
    path = directory / "fleet.yaml"
    path.write_bytes(msgspec.json.encode(fleet))  # JSON is YAML
    return path


def _cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _row(status: dict[str, Any], name: str) -> dict[str, Any]:
    return dict(next(row for row in status["actors"] if row["name"] == name))


if __name__ == "__main__":
    figures.run(main)
