"""`Fleet`: a whole fleet.yaml inside a `with` block of a script or notebook.

The fleet runs as it would from `supervisor start`: a supervisor in a process of its own and every
actor in another; the script only sends commands. It ends with the block, and with the script,
however that ends.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Self

from ... import arguments
from ...errors import ControlSocketError, FleetFailedError, NotReadyError
from ...transport import segment
from ...transport.frames import FrameReader
from ..driver.stop_outcome import StopOutcome
from ..fleet.loading import load
from ..runtime.runtime_dir import LOCK, SOCKET, runtime_base
from ..supervision.control_socket import ask, attach
from .stopping import emergency_stop, release_emergency_stop

_ANSWERS_WITHIN_S = 120.0
"""From its start, for a supervisor that runs: a machine that is busy otherwise, or starts much at
once, may need most of a minute for its imports."""
_STOP_S = 8.0


class Fleet:
    """One fleet, started by this script: that of the file `path`, on this machine its part of
    `host`. Raises FleetError for a fleet.yaml that cannot be used, TypeError or ValueError for
    arguments that cannot.

        with Fleet("fleet.yaml") as fleet:
            fleet.wait()  # every actor READY, every robot STREAMING
            frame = fleet.camera("r1/overhead").latest()  # straight from shared memory
            fleet.pause("r1")
    """

    def __init__(self, path: str | Path, *, host: str | None = None) -> None:
        self.path = arguments.path("path", path)
        self._host = None if host is None else arguments.label("host", host)
        self.name = load(self.path).name
        self._pid = os.getpid()
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the supervisor and wait until it answers. Raises FleetFailedError."""
        # The supervisor's lifeline is its stdin: the pipe closes however the script ends.
        self._output = tempfile.TemporaryFile()  # noqa: SIM115  closed by stop()
        command = [
            sys.executable,
            "-m",
            "holdfast.tools.cli.supervisor_command",
            "start",
            str(self.path),
        ]
        command += ["--until-stdin-closes"]
        if self._host:
            command += ["--host", self._host]
        # A session of its own: Ctrl-C, and a notebook's stop button, stop the script or its cell.
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=self._output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        deadline_s = time.monotonic() + _ANSWERS_WITHIN_S
        while True:
            if self._process.poll() is not None:
                self._fail("did not start")
            if self._answers():
                return
            if time.monotonic() > deadline_s:
                self._fail(f"did not answer within {_ANSWERS_WITHIN_S:g} s")
            time.sleep(0.02)

    def stop(self) -> None:
        """End the fleet in order. Idempotent; does nothing in a forked child: the fleet is the
        parent's."""
        if self._process is None or os.getpid() != self._pid:
            return
        process, self._process = self._process, None
        process.terminate()
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        assert process.stdin is not None
        process.stdin.close()
        self._output.close()

    def status(self) -> dict[str, Any]:
        """What `actorctl status --json` prints."""
        answer: dict[str, Any] = self._ask(do="status")["status"]
        return answer

    def wait(self, timeout_s: float = 60.0) -> dict[str, Any]:
        """Wait until every actor is READY and every robot STREAMING; the status then.

        Raises NotReadyError that names what is not, and why, FleetFailedError when the fleet ended.
        """
        deadline_s = time.monotonic() + arguments.number("timeout_s", timeout_s, most=1e9)
        while True:
            if self._process is None or self._process.poll() is not None:
                self._fail("ended")
            status = self.status()
            late = [
                *(each for each in status["actors"] if each["state"] != "READY"),
                *(each for each in status["robots"] if each["state"] != "STREAMING"),
            ]
            if not late:
                return status
            if time.monotonic() > deadline_s:
                waiting = "; ".join(map(_describe, late))
                raise NotReadyError(f"not ready within {timeout_s:g} s: {waiting}")
            time.sleep(0.05)

    def camera(self, name: str) -> FrameReader:
        """The frames of a camera, `robot/camera`, read from its shared-memory ring.

        Raises ControlSocketError for a name that the fleet does not have.
        """
        fd, size = attach(self._socket, name)
        return FrameReader(segment.map(fd, size, writable=False))

    def pause(self, robot: str) -> None:
        """Stop asking for chunks and playing; the plan is kept."""
        self._ask(do="pause", names=[arguments.label("robot", robot)])

    def resume(self, robot: str) -> None:
        """Continue after `pause`."""
        self._ask(do="resume", names=[arguments.label("robot", robot)])

    def reset(self, robot: str, task: str | None = None) -> None:
        """An episode begins, with another `task` if one is given: the plan is void."""
        args = {} if task is None else {"task": arguments.text("task", task)}
        self._ask(do="reset", names=[arguments.label("robot", robot)], args=args)

    def change_task(self, robot: str, task: str) -> None:
        """The policy is to do `task` from now on, in the same episode: a chunk of it is asked for
        at once and continues the plan. Raises ControlSocketError for one that the robot's service
        does not do."""
        args = {"task": arguments.text("task", task)}
        self._ask(do="task", names=[arguments.label("robot", robot)], args=args)

    def emergency_stop(self, *robots: str, why: str = "") -> list[StopOutcome]:
        """Stop `robots`, or all without one, below everything else: see
        `holdfast.emergency_stop`."""
        return emergency_stop(*robots, fleet=self.name, why=why)

    def release_emergency_stop(
        self, *robots: str, key: str | Path | None = None
    ) -> list[StopOutcome]:
        """Lift the stop of `robots`: see `holdfast.release_emergency_stop`."""
        return release_emergency_stop(*robots, fleet=self.name, key=key)

    def restart(self, actor: str) -> None:
        """Restart an actor, `r1/control` for example. Raises ControlSocketError for one that the
        fleet does not have, as every command does for a name that is not there."""
        self._ask(do="restart", names=[arguments.name("actor", actor)])

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def _socket(self) -> Path:
        return runtime_base() / self.name / SOCKET

    def _ask(self, **request: Any) -> dict[str, Any]:
        return ask(self._socket, **request)

    def _answers(self) -> bool:
        """Whether the supervisor that this object started answers. Another one of the same name
        may, until ours has found that it is there and ended."""
        assert self._process is not None
        lock = self._socket.with_name(LOCK)
        try:
            if lock.read_text() != str(self._process.pid):
                return False
            self._ask(do="status")
        except (ControlSocketError, OSError):
            return False
        return True

    def _fail(self, what: str) -> None:
        self._output.seek(0)
        output = self._output.read().decode(errors="replace").strip()
        self.stop()
        raise FleetFailedError(f"the fleet of {self.path} {what}:\n{output[-2000:]}")


def _describe(row: dict[str, Any]) -> str:
    """The name, the state and the reason of a row of the status."""
    why = row.get("reason")
    return f"{row['name']} is {row['state'] or 'unknown'}" + (f" ({why})" if why else "")
