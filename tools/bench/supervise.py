"""How soon a supervisor begins to replace a killed process, and what it costs while nothing
happens.

    actorctl bench supervise [--quick] [--json] [--peers VENV]

A restart has begun when the supervisor has a new child, seen from outside by polling the kernel's
list of its children: what the new process then loads is its own affair, and the same for all. Each
process had been up for a while, so that no supervisor is backing off.

Peers run in the same turn if they are installed: `pip install circus supervisor setuptools` into a
virtual environment of their own, named with `--peers`, or anywhere on PATH.
"""

from __future__ import annotations

import argparse
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from ...actors.runtime.actor import Actor
from ...actors.runtime.spec import ActorSpec, Member, Rules, SegmentUse
from ...actors.runtime.status_board import BOARD_SIZE
from . import figures

SETTLE_S = 1.5
"""supervisord counts a process as started after one second."""
KILLS = 30
RULES = Rules(settle_s=0.5, hang_timeout_s=60.0, max_restarts=10 * KILLS)
"""So many kills within a minute are more than a fleet would put up with."""
DEADLINE_S = 60.0
POLL_S = 0.0001
"""Between two looks: what is measured has the processor to itself."""
END_S = 10.0


class NoConfig(msgspec.Struct, frozen=True):
    """No settings."""


class Idle(Actor):
    """An actor that does nothing but make progress, as often as an idle one does."""

    kind = "idle"
    Config = NoConfig

    def run(self) -> None:
        self.ready()
        while not self.stopping:
            self.board.progress()
            select.select([self.link], [], [], 0.2)
            self.link.commands()


def main() -> int:
    parser = figures.parser("supervise", __doc__, "fewer of all")
    parser.add_argument("--peers", type=Path, help="a virtual environment that has the peers")
    parser.add_argument("--role", type=int, metavar="ACTORS", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.role is not None:
        supervise(options.role)
        return 0
    kills, actors, idle_s = (3, 6, 2.0) if options.quick else (KILLS, 30, 20.0)
    rows: list[dict[str, Any]] = []
    about = figures.machine()
    for name, start in (("holdfast", holdfast), ("circus", circus), ("supervisord", supervisord)):
        who = name if name == "holdfast" else f"peer/{name}"
        try:
            with start(1, options.peers) as pid:
                rows.append(figures.row(f"{who}/kill-to-restart", delays(pid, kills), "ms"))
            with start(actors, options.peers) as pid:
                used = [processor_share(pid, actors, idle_s)]
            rows.append(figures.row(f"{who}/idle-cpu-{actors}-actors", used, "%"))
        except FileNotFoundError as absent:
            print(f"{name} is left out: {absent}", file=sys.stderr)
        except TimeoutError as problem:
            raise SystemExit(f"{name}: {problem}") from problem
    report = {"bench": "supervise", "machine": about, "rows": rows}
    print(json.dumps(report) if options.json else figures.text(report))
    return 0


def delays(supervisor: int, kills: int) -> list[float]:
    """Milliseconds from SIGKILL of the supervised process until there is the next one."""
    found: list[float] = []
    for _ in range(kills):
        (victim,) = wait_for_children(supervisor, 1)
        time.sleep(SETTLE_S)
        known = children(supervisor)
        began_s = time.perf_counter()
        os.kill(victim, signal.SIGKILL)
        while not children(supervisor) - known:
            if time.perf_counter() - began_s > DEADLINE_S:
                raise TimeoutError(f"nothing was restarted after kill {len(found) + 1}")
            time.sleep(POLL_S)
        found.append((time.perf_counter() - began_s) * 1e3)
    return found


def processor_share(supervisor: int, actors: int, seconds: float) -> float:
    """Percent of one processor that the supervisor itself uses, once all are up."""
    wait_for_children(supervisor, actors)
    time.sleep(SETTLE_S)
    before_s, began_s = processor_s(supervisor), time.monotonic()
    time.sleep(seconds)
    return (processor_s(supervisor) - before_s) / (time.monotonic() - began_s) * 100


def processor_s(pid: int) -> float:
    """Processor time in seconds, to the nanosecond: /proc/PID/stat counts in hundredths."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9


def children(pid: int) -> set[int]:
    """The supervised processes: the cleanup process is a helper of the supervisor's own."""
    listed = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return {int(child) for child in listed if not _is_cleanup_process(child)}


def _is_cleanup_process(pid: str) -> bool:
    try:
        return b"cleanup_process" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return True  # it is gone


def wait_for_children(pid: int, count: int) -> set[int]:
    deadline_s = time.monotonic() + DEADLINE_S
    while len(found := children(pid)) != count:
        if time.monotonic() > deadline_s:
            raise TimeoutError(f"process {pid} has {len(found)} children, {count} are expected")
        time.sleep(0.01)
    return found


def supervise(count: int) -> None:
    """Be a supervisor of `count` idle actors."""
    from ...actors.runtime.runtime_dir import RuntimeDir, state_dir
    from ...actors.supervision.logstore import LogStore
    from ...actors.supervision.supervisor import Supervisor

    actors = [
        ActorSpec(
            kind="holdfast.tools.bench.supervise:Idle",
            member=Member(f"idle{i}", RULES),
            config={},
            segments=(SegmentUse(f"idle{i}/board", BOARD_SIZE, writable=True),),
        )
        for i in range(count)
    ]
    logs = LogStore(state_dir("bench"), 1_000_000, 2)
    Supervisor("bench", actors, RuntimeDir("bench"), logs).run()


@contextmanager
def holdfast(count: int, _peers: Path | None) -> Iterator[int]:
    with tempfile.TemporaryDirectory(prefix="holdfast-bench-") as directory:
        places = {"HOLDFAST_RUNTIME": f"{directory}/run", "HOLDFAST_STATE": f"{directory}/state"}
        argv = [sys.executable, "-P", "-m", __spec__.name, "--role", str(count)]
        with running(argv, {**os.environ, **places}) as pid:
            yield pid


@contextmanager
def circus(count: int, peers: Path | None) -> Iterator[int]:
    with tempfile.TemporaryDirectory(prefix="holdfast-bench-") as directory:
        config = Path(directory) / "circus.ini"
        config.write_text(
            "[circus]\n"
            f"endpoint = ipc://{directory}/endpoint\n"
            f"pubsub_endpoint = ipc://{directory}/pubsub\n"
            "[watcher:sleeper]\n"
            f"cmd = {sys.executable}\n"
            'args = -c "import time; time.sleep(3600)"\n'
            f"numprocesses = {count}\n"
        )
        with running([executable("circusd", peers), str(config)]) as pid:
            yield pid


@contextmanager
def supervisord(count: int, peers: Path | None) -> Iterator[int]:
    with tempfile.TemporaryDirectory(prefix="holdfast-bench-") as directory:
        config = Path(directory) / "supervisord.conf"
        config.write_text(
            "[supervisord]\n"
            f"nodaemon=true\nlogfile={directory}/log\npidfile={directory}/pid\n"
            "[program:sleeper]\n"
            f'command={sys.executable} -c "import time; time.sleep(3600)"\n'
            f"numprocs={count}\nprocess_name=%(program_name)s%(process_num)d\n"
            "autorestart=true\n"
        )
        with running([executable("supervisord", peers), "-c", str(config)]) as pid:
            yield pid


def executable(name: str, peers: Path | None) -> str:
    """The peer's command. Raises FileNotFoundError with how to install it."""
    found = shutil.which(name, path=str(peers / "bin") if peers else None)
    if found is None:
        where = str(peers) if peers else "PATH"
        raise FileNotFoundError(
            f"no {name} in {where}; `pip install circus supervisor setuptools` into a virtual "
            "environment, and name it with --peers"
        )
    return found


@contextmanager
def running(argv: list[str], environment: dict[str, str] | None = None) -> Iterator[int]:
    """A supervisor for the length of the block; its output is shown if it fails."""
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(argv, env=environment, stdout=output, stderr=subprocess.STDOUT)
        try:
            yield process.pid
        except TimeoutError:
            output.seek(0)
            sys.stderr.write(output.read().decode(errors="replace")[-4000:])
            raise
        finally:
            end(process)


def end(process: subprocess.Popen[bytes]) -> None:
    """Stop a supervisor in its own way, or else with all that it supervises."""
    left = children(process.pid)
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(END_S)
    except subprocess.TimeoutExpired:
        left |= children(process.pid)
        for pid in (process.pid, *left):
            os.kill(pid, signal.SIGKILL)
        process.wait()


if __name__ == "__main__":
    figures.run(main)
