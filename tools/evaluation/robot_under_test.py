"""`RobotUnderTest`: one robot of a running fleet, as an evaluation sees and commands it.

By the fleet's control socket, the robot's tick log in shared memory, and the audit on disk: nothing
that it does waits for this process.
"""

from __future__ import annotations

import mmap
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from ...actors.control.plan_memory import PLAN_BYTES
from ...actors.control.tick_log import TickReader, TickRecord
from ...actors.network.executed_log import ExecutedHead
from ...actors.supervision import control_socket
from ...errors import ControlSocketError, EvaluationError
from ..cli.executed_plot import latencies

_HEAD = b'{"kind":"head"'
_LOOK_S = 0.1
_UP_S = 60.0
"""How long a fleet that has just been started may take."""


@dataclass(frozen=True)
class RobotSight:
    """What the status says at one instant.

    Attributes:
        robot: the robot's row.
        actors: the rows of the actors that its episodes need, by name.
        judged: the episodes that its surroundings have counted, and the successes of them; None
            where they judge nothing.
        begins: whether its surroundings begin an episode at each reset.
    """

    robot: dict[str, Any]
    actors: dict[str, dict[str, Any]] = field(default_factory=dict)
    judged: tuple[int, int] | None = None
    begins: bool = False

    def unready(self) -> str:
        """Which of the actors does not run, and why; empty if all do."""
        for name, row in self.actors.items():
            if row["state"] != "READY":
                why = row["reason"] or row["last_exit"] or ""
                return f"{name} is {row['state']}" + (f": {why}" if why else "")
        return ""

    def fault_since(self, before: RobotSight) -> str:
        """What happened to the actors, the session or the robot since; empty if nothing did."""
        for name, row in self.actors.items():
            earlier = before.actors.get(name)
            if earlier is not None and row["incarnation"] != earlier["incarnation"]:
                return f"{name} ended: {row['last_exit'] or 'it was started again'}"
        if unready := self.unready():
            return unready
        if self.robot["epoch"] != before.robot["epoch"]:
            return f"its session ended: {self.robot['reason'] or 'another one was opened'}"
        if self.robot["state"] in ("DEAD", "STOPPED", "DOWN"):
            return f"it is {self.robot['state']}: {self.robot['reason']}"
        if self.robot["driver_gaps"] != before.robot["driver_gaps"]:
            return "its driver was gone"
        return ""


class RobotUnderTest:
    """The robot `name` of the fleet whose control socket is at `path`. Raises EvaluationError for
    one that is not there, or that no policy moves."""

    def __init__(self, path: Path, name: str) -> None:
        self._path, self.name = path, name
        self.folder = Path(self._ask(do="places")["log"]).parent
        self.wait_ready(None, _UP_S)
        row = self.sight().robot
        if not row.get("service"):
            raise EvaluationError(f"robot {name} has no service: a person alone moves it")
        if (row.get("recording") or {}).get("strategy"):
            raise EvaluationError(
                f"the strategy of robot {name} commands it too ({row['recording']['strategy']}): "
                "evaluate it without one, or with `strategy: base`"
            )
        self.service: str = row["service"]
        """What it used when this began."""
        self.paused: bool = row["paused"]
        self.recorded = row.get("recording") is not None
        head = self._head()
        self.rate_hz, self.action_names = head.fps, head.action_names
        self._ticks = self._reader(len(head.state_names), len(head.action_names))

    def sight(self, service: str | None = None) -> RobotSight:
        """What the status says now, of the actors that serve `service` too. Raises
        ControlSocketError."""
        body = self._ask(do="status")["status"]
        robots = {row["name"]: row for row in body["robots"]}
        if self.name not in robots:
            raise EvaluationError(
                f"no robot {self.name!r} in this fleet; it has {', '.join(robots) or 'none'}"
            )
        wanted = ("broker", f"{self.name}/", *([f"{service}/"] if service else []))
        actors = {
            row["name"]: row
            for row in body["actors"]
            if row["name"].startswith(wanted) and row["kind"] != "recorder"
        }
        said = (actors.get(f"{self.name}/driver") or {}).get("report") or {}
        counts = said.get("tried"), said.get("successes")
        judged = (counts[0], counts[1] or 0) if counts[0] is not None else None
        return RobotSight(robots[self.name], actors, judged, bool(said.get("begins_episodes")))

    def command(self, verb: str, within_s: float = 10.0, **args: Any) -> dict[str, Any]:
        """Command the robot, or its recorder; what was answered. Raises ControlSocketError."""
        answer = self._ask(do=verb, names=[self.name], args=args, timeout_s=within_s)
        result: dict[str, Any] = answer["result"] or {}
        return result

    def use(self, service: str) -> None:
        """Have another service infer for the robot. Raises ControlSocketError with the reason where
        that is refused."""
        self.command("use", service=service)

    def wait_ready(
        self, service: str | None, within_s: float, rest: Callable[[float], object] = time.sleep
    ) -> None:
        """Wait, by `rest`, until all that an episode needs runs. Raises EvaluationError if it does
        not."""
        deadline_s = time.monotonic() + within_s
        why = "the fleet does not answer"
        while time.monotonic() < deadline_s:
            if self.gone:
                raise EvaluationError("the fleet has ended")
            try:
                sight = self.sight(service)
            except ControlSocketError as error:
                why = str(error)
            else:
                why = sight.unready()
                if sight.robot["state"] in ("DEAD", "STOPPED"):
                    why = f"it is {sight.robot['state']}: {sight.robot['reason']}"
                elif sight.robot["service"] is None:
                    why = why or "its control has not reported yet"
                if not why:
                    return
            rest(_LOOK_S)
        raise EvaluationError(f"robot {self.name} cannot go on: {why}")

    @property
    def gone(self) -> bool:
        """Whether the fleet has ended, with all of its robots."""
        return not self._path.exists()

    def ticks(self) -> list[TickRecord]:
        """Those since the last call, oldest first."""
        return self._ticks.read()

    @property
    def lost(self) -> int:
        """Ticks that were overwritten before they were read."""
        return self._ticks.lost

    def latency_ms(self, began_at: float, ended_at: float) -> tuple[float, ...]:
        """Of each request that was answered between two times of day."""
        audit = self.folder / "audit" / f"{self.name}.network.jsonl"
        found = latencies(audit, began_at, ended_at)[:, 1] * 1e3
        return tuple(round(float(each), 2) for each in found)

    def _ask(self, timeout_s: float = 10.0, **request: Any) -> dict[str, Any]:
        return control_socket.ask(self._path, timeout_s=timeout_s, **request)

    def _head(self) -> ExecutedHead:
        """The joints and the rate, as the network actor has written them for this run."""
        path = self.folder / "executed" / f"{self.name}.jsonl"
        try:
            heads = list(_heads(path))
        except OSError as error:
            raise EvaluationError(
                f"robot {self.name} has no executed steps in {path}: {error}; an evaluation runs "
                "on the robot's own host, with `logs.executed_mb` of more than 0"
            ) from error
        if not heads:
            raise EvaluationError(f"{path} has not begun yet: wait until {self.name} streams")
        return msgspec.json.decode(heads[-1], type=ExecutedHead)

    def _reader(self, states: int, actions: int) -> TickReader:
        descriptor, size = control_socket.attach(self._path, f"{self.name}/plan")
        try:
            memory = memoryview(mmap.mmap(descriptor, size, prot=mmap.PROT_READ))
        finally:
            os.close(descriptor)
        try:
            return TickReader(memory[PLAN_BYTES:], states, actions)
        except ValueError as error:
            raise EvaluationError(f"robot {self.name}: {error}") from error


def _heads(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        yield from (line for line in file if line.startswith(_HEAD) and line.endswith(b"\n"))
