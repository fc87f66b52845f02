"""`Fleet`: a whole fleet.yaml inside a `with` block of a script or notebook.

The fleet runs as it would from `supervisor start`: a supervisor in a process of its own and every
actor in another; the script only talks to it. It ends with the block, and with the script, however
that dies.

    with Fleet("fleet.yaml") as fleet:
        fleet.wait()                                    # every actor READY, every robot STREAMING
        frame = fleet.camera("r1/overhead").latest()    # straight from shared memory
        fleet.pause("r1")
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Self

from ...transport import segment
from ...transport.frames import FrameReader
from ..fleet.fleet import load
from ..rundir import SOCKET, runtime_base
from ..supervision.console import ConsoleError, ask, attach

_STOP_S = 8.0


class FleetFailed(Exception):
    """The fleet did not start, or ended by itself: the message has what it said last."""


class Fleet:
    """One fleet, started by this script. Raises FleetError for a fleet.yaml that cannot be used."""

    def __init__(self, path: str | Path, *, host: str | None = None) -> None:
        self.path = Path(path)
        self.name = load(self.path).name
        self._host = host
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the supervisor and wait until it answers. Raises FleetFailed."""
        # Its life hangs on this pipe: when the script is gone, however, the pipe closes.
        self._said = tempfile.TemporaryFile()  # noqa: SIM115  closed by stop()
        command = [sys.executable, "-m", "holdfast.tools.supervisor", "start", str(self.path)]
        command += ["--until-stdin-closes"]
        if self._host:
            command += ["--host", self._host]
        # A session of its own: Ctrl-C, and a notebook's stop button, mean the script or its cell.
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=self._said,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        deadline = time.monotonic() + 20.0
        while True:
            if self._process.poll() is not None:
                self._fail("did not start")
            try:
                self._ask(do="status")
            except ConsoleError:
                if time.monotonic() > deadline:
                    self._fail("did not answer within 20 s")
                time.sleep(0.02)
            else:
                return

    def stop(self) -> None:
        """End the fleet in order. Idempotent."""
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        assert process.stdin is not None
        process.stdin.close()
        self._said.close()

    def status(self) -> dict[str, Any]:
        """What `actorctl status --json` prints."""
        answer: dict[str, Any] = self._ask(do="status")["status"]
        return answer

    def wait(self, timeout_s: float = 60.0) -> dict[str, Any]:
        """Wait until every actor is READY and every robot STREAMING; the status then.

        Raises TimeoutError that names who is not, FleetFailed when the fleet ended.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            if self._process is None or self._process.poll() is not None:
                self._fail("ended")
            status = self.status()
            late = [a["name"] for a in status["actors"] if a["state"] != "READY"]
            late += [r["name"] for r in status["robots"] if r["state"] != "STREAMING"]
            if not late:
                return status
            if time.monotonic() > deadline:
                raise TimeoutError(f"not ready within {timeout_s:g} s: {', '.join(late)}")
            time.sleep(0.05)

    def camera(self, name: str) -> FrameReader:
        """The frames of a camera, `robot/camera`, read from its shared-memory ring.

        Raises ConsoleError for a name that the fleet does not have.
        """
        fd, size = attach(self._socket, name)
        return FrameReader(segment.map(fd, size, writable=False))

    def pause(self, robot: str) -> None:
        """Stop asking for chunks and playing; the plan is kept."""
        self._ask(do="pause", names=[robot])

    def resume(self, robot: str) -> None:
        self._ask(do="resume", names=[robot])

    def reset(self, robot: str, task: str | None = None) -> None:
        """An episode begins: the plan is void."""
        self._ask(do="reset", names=[robot], args={"task": task} if task else {})

    def restart(self, actor: str) -> None:
        self._ask(do="restart", names=[actor])

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

    def _fail(self, what: str) -> None:
        self._said.seek(0)
        said = self._said.read().decode(errors="replace").strip()
        self.stop()
        raise FleetFailed(f"the fleet of {self.path} {what}:\n{said[-2000:]}")
