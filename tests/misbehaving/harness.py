"""Start a real supervisor over misbehaving actors, look at it through its socket, end it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

import msgspec

from holdfast.actors.runtime.bounded_file import older
from holdfast.actors.runtime.runtime_dir import SOCKET, runtime_base, state_dir
from holdfast.actors.runtime.spec import ActorSpec, Member, Rules, SegmentUse
from holdfast.actors.runtime.status_board import BOARD_SIZE
from holdfast.actors.supervision.control_socket import ask
from holdfast.errors import ControlSocketError
from holdfast.tests.waiting import wait_until

HERE = Path(__file__).parent
PATIENT = Rules(
    start_timeout_s=60, hang_timeout_s=60, stop_timeout_s=0.5, backoff_s=0.1, max_backoff_s=0.3
)
"""An actor that the machine delays neither hangs nor fails to start."""
Row = dict[str, Any]


def actor(
    name: str,
    kind: str = "Steady",
    rules: Rules = PATIENT,
    after: tuple[str, ...] = (),
    segments: tuple[SegmentUse, ...] = (),
    memory_mb: int | None = None,
    group: str | None = None,
    robot: str | None = None,
    warm: str | None = None,
    spares: int = 1,
    reconfigurable: tuple[str, ...] = (),
    **config: object,
) -> ActorSpec:
    board = SegmentUse(f"{name}/board", BOARD_SIZE, writable=True)
    return ActorSpec(
        kind=f"misbehaving:{kind}",
        member=Member(name, rules, after, group),
        config=config,
        segments=(board, *segments),
        memory_mb=memory_mb,
        robot=robot,
        warm=warm,
        spares=spares,
        reconfigurable=reconfigurable,
    )


def exists(pid: int) -> bool:
    """Whether the process is there and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


class Supervised:
    """A supervisor in a process of its own, for the length of a `with` block."""

    def __init__(
        self, *actors: ActorSpec, name: str = "misbehaving", spare_answers_within_s: float = 30.0
    ) -> None:
        """A start waits so long for a warm spare before it is a cold one."""
        self.name = name
        self.socket = runtime_base() / name / SOCKET
        program = [sys.executable, str(HERE / "supervise.py")]
        self.process = subprocess.Popen(
            [*program, name, str(spare_answers_within_s)],
            env={**os.environ, "PYTHONPATH": str(HERE)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdin is not None
        self.process.stdin.write(msgspec.json.encode(list(actors)).decode())
        self.process.stdin.close()
        self.process.stdin = None  # communicate() would flush it

    def __enter__(self) -> Self:
        try:
            wait_until(self.answers, "the supervisor starts")
        except AssertionError:
            self.process.kill()
            raise AssertionError(self.process.communicate()[1]) from None
        return self

    def answers(self) -> bool:
        """Whether it is up. Right after one that was killed, the socket may still be that one's."""
        try:
            return bool(self.ask("status"))
        except ControlSocketError:
            return False

    def __exit__(self, *exc: object) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            _, err = self.process.communicate(timeout=240)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.communicate()
            raise AssertionError("the supervisor does not end") from None
        if not any(exc):
            assert "Traceback" not in err, err

    def ask(self, do: str, *names: str, **more: Any) -> Row:
        return ask(self.socket, do=do, names=list(names), **more)

    def refused(self, do: str, *names: str, **more: Any) -> str:
        """Why the supervisor did not do it."""
        try:
            answer = self.ask(do, *names, **more)
        except ControlSocketError as error:
            return str(error)
        raise AssertionError(f"not refused: {answer}")

    def status(self) -> Row:
        return dict(self.ask("status")["status"])

    def row(self, name: str) -> Row:
        return next(row for row in self.status()["actors"] if row["name"] == name)

    def turns(self, name: str) -> int:
        """How far a Steady actor has counted."""
        return int((self.row(name)["report"] or {}).get("turns", 0))

    def reach(self, name: str, state: str, incarnation: int = 1, within_s: float = 60.0) -> Row:
        """Wait until `name` is in `state`, in this incarnation or a later one."""

        def there() -> Row | None:
            row = self.row(name)
            return row if row["state"] == state and row["incarnation"] >= incarnation else None

        try:
            return wait_until(there, f"{name} is {state}", within_s)
        except AssertionError as error:
            raise AssertionError(f"{error}: {self.row(name)}; {self.log()[-5:]}") from None

    def log(self) -> list[Row]:
        """The records of all files, but for a line that is being written."""
        path = state_dir(self.name) / "log.jsonl"
        whole = b""
        for file in (*reversed(older(path)), path):
            with suppress(FileNotFoundError):  # it has just become an older one
                whole += file.read_bytes()
        return [json.loads(line) for line in whole.splitlines(keepends=True) if line[-1:] == b"\n"]


def child(fleet: Supervised, argument: bytes, but: int = 0) -> int:
    """The supervisor's live child with `argument` in its command line, other than `but`; 0 if there
    is none."""
    return next((pid for pid in children(fleet, argument) if pid != but), 0)


def children(fleet: Supervised, argument: bytes) -> list[int]:
    """The supervisor's live children with `argument` in their command line."""
    task = Path(f"/proc/{fleet.process.pid}/task/{fleet.process.pid}")
    pids = [int(pid) for pid in (task / "children").read_text().split()]
    return [pid for pid in pids if exists(pid) and argument in _command(pid)]


def _command(pid: int) -> bytes:
    """Empty where the process has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""
