"""Real processes of one actor each, with the test in the supervisor's place."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import psutil
import pytest

from holdfast.actors.runtime.link_messages import BootMessage, ReadyMessage, SegmentEntry
from holdfast.actors.runtime.status_board import BOARD_SIZE, StatusBoardReader
from holdfast.actors.runtime.supervisor_link import SupervisorLink, pair
from holdfast.policy.synthetic import write_spec
from holdfast.tests.actors.inference import robot_side
from holdfast.tests.waiting import wait_until
from holdfast.transport import segment, sockets

PATIENCE_S = 60.0
"""For a process that imports on a busy machine."""


class ActorProcess:
    """One actor, started as a supervisor starts it; `check` asserts that it is unharmed."""

    def __init__(
        self, kind: str, name: str, config: dict[str, Any], sizes: dict[str, int], rundir: Path
    ) -> None:
        ours, theirs = pair()
        self.link = SupervisorLink(ours)
        self.segments = {
            each: segment.create(size, each)
            for each, size in {f"{name}/board": BOARD_SIZE, **sizes}.items()
        }
        theirs.set_inheritable(True)
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "holdfast.actors.runtime.main", name],
            pass_fds=[theirs.fileno()],
            env={**os.environ, "HOLDFAST_LINK": str(theirs.fileno()), "OMP_NUM_THREADS": "1"},
            start_new_session=True,
        )
        theirs.close()
        entries = tuple(SegmentEntry(n, made.size, True) for n, made in self.segments.items())
        boot = BootMessage(kind, name, 1, str(rundir), config, entries)
        self.link.boot(boot, [made.fd for made in self.segments.values()])
        self.board = StatusBoardReader(self.segments[f"{name}/board"].map(writable=False))
        self.name = name
        self._wait_until_ready()
        self._memory = 0

    def _wait_until_ready(self) -> None:
        def ready() -> bool:
            self._assert_running()
            return any(isinstance(message, ReadyMessage) for message in self.link.messages()[0])

        wait_until(ready, f"{self.name} to get ready", PATIENCE_S)

    def _assert_running(self) -> None:
        assert self.process.poll() is None, f"{self.name} ended: {self.process.returncode}"

    def status(self) -> dict[str, Any]:
        return self.board.report() or {}

    def until(self, condition: Callable[[dict[str, Any]], Any], within_s: float = 60.0) -> Any:
        """The first truthy `condition` of the status, while the process runs."""

        def checked() -> Any:
            self._assert_running()
            return condition(self.status())

        return wait_until(checked, f"the status of {self.name}", within_s)

    def mark(self) -> None:
        """From here on `check` counts growth."""
        self._memory = psutil.Process(self.process.pid).memory_info().rss

    def check(self, growth_mb: float) -> None:
        """It is the same process, its loop turns, and it has not grown by more than this."""
        self._assert_running()
        turns = self.board.progress()[0]
        self.until(lambda _: self.board.progress()[0] > turns)
        # Messages that are still in its sockets are not growth.
        wait_until(
            lambda: self._grown_mb() < growth_mb,
            f"{self.name} to hold less than {growth_mb} MB more",
            PATIENCE_S,
        )

    def _grown_mb(self) -> float:
        return (psutil.Process(self.process.pid).memory_info().rss - self._memory) / 1e6

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self.link.close()
        for made in self.segments.values():
            made.close()


@pytest.fixture
def rundir() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="hf-") as directory:
        yield Path(directory)


@pytest.fixture
def start_actor(rundir: Path) -> Iterator[Callable[..., ActorProcess]]:
    """start_actor(kind, name, config, sizes): a process that is ready; killed afterwards."""
    started: list[ActorProcess] = []

    def start(
        kind: str, name: str, config: dict[str, Any], sizes: dict[str, int] | None = None
    ) -> ActorProcess:
        started.append(ActorProcess(kind, name, config, sizes or {}, rundir))
        return started[-1]

    yield start
    for each in started:
        each.close()


@pytest.fixture
def broker(start_actor: Callable[..., ActorProcess], rundir: Path) -> ActorProcess:
    """A broker process; its endpoints are `rundir`/front and back."""
    ends = {"front": sockets.ipc(rundir, "front"), "back": sockets.ipc(rundir, "back")}
    return start_actor("broker", "broker", ends)


SPEC = msgspec.structs.replace(robot_side.SPEC, action_names=robot_side.SPEC.state_names)
"""An action for each state value: the policy's chunk repeats the state."""


@pytest.fixture
def still(tmp_path: Path) -> Path:
    """A checkpoint for `policy: constant`, which needs its config.json only."""
    write_spec(tmp_path, SPEC)
    return tmp_path
