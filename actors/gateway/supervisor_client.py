"""The gateway's side of the supervisor's control socket: requests with bounded answers.

Each request has a connection of its own, so that a command that an actor is slow to answer delays
no status, and a late answer is never taken for that of the next request.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import msgspec

from ...errors import RequestDeclinedError, SupervisorUnreachableError

STATUS_S = 2.0
COMMAND_S = 6.0
"""The supervisor itself waits for an actor's answer, and reports when there is none."""
SAVED_S = 130.0
"""Longer than the supervisor waits for an episode to be saved."""
EPISODE_VERBS: dict[str, tuple[str, dict[str, Any]]] = {
    "episode-start": ("episode_start", {}),
    "episode-success": ("episode_stop", {"success": True}),
    "episode-failure": ("episode_stop", {"success": False}),
    "episode-stop": ("episode_stop", {}),
    "episode-rerecord": ("episode_rerecord", {}),
    "episode-discard": ("episode_discard", {}),
    "episode-save": ("episode_save", {}),
}
MAX_ANSWER = 16 * 1024 * 1024
"""A status report of some hundreds of robots is below one MiB."""


class SupervisorClient:
    """The supervisor behind the socket `path`. Each call raises
    SupervisorUnreachableError or RequestDeclinedError."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def status(self) -> dict[str, Any]:
        """The report: fleet, healthy, uptime_s, actors, robots, witness."""
        answer = await self._ask(STATUS_S, do="status")
        report: dict[str, Any] = answer["status"]
        return report

    async def robot(self, name: str, verb: str) -> Any:
        """`pause`, `resume`, `reset` or `take-over` a robot; what its control actor answered."""
        return (await self._ask(COMMAND_S, do=verb, names=[name])).get("result")

    async def episode(self, robot: str, verb: str) -> Any:
        """One of EPISODE_VERBS for what is recorded of a robot; what its recorder answered."""
        do, args = EPISODE_VERBS[verb]
        if do == "episode_start":
            begun = await self.robot(robot, "reset")
            args = {"episode": begun["episode"]}
        return (await self._ask(SAVED_S, do=do, names=[robot], args=args)).get("result")

    async def change_task(self, robot: str, task: str) -> Any:
        """Another task in the same episode; what the robot's control actor answered."""
        return (await self._ask(COMMAND_S, do="task", names=[robot], args={"task": task})).get(
            "result"
        )

    async def restart(self, actor: str) -> Any:
        """Announce the restart of an actor; its state after that."""
        return (await self._ask(COMMAND_S, do="restart", names=[actor])).get("states")

    async def _ask(self, within_s: float, **question: Any) -> dict[str, Any]:
        try:
            async with asyncio.timeout(within_s):
                line = await self._exchange(msgspec.json.encode(question) + b"\n")
            answer = msgspec.json.decode(line, type=dict[str, Any])
        except TimeoutError:
            raise SupervisorUnreachableError(
                f"the supervisor did not answer within {within_s:g} s"
            ) from None
        except (OSError, ValueError) as error:
            raise SupervisorUnreachableError(
                f"the supervisor at {self._path} is gone: {error}"
            ) from error
        if not answer.get("ok"):
            raise RequestDeclinedError(
                str(answer.get("error", "the supervisor refused without a reason"))
            )
        return answer

    async def _exchange(self, line: bytes) -> bytes:
        reader, writer = await asyncio.open_unix_connection(self._path, limit=MAX_ANSWER)
        try:
            writer.write(line)
            await writer.drain()
            return await reader.readline()
        finally:
            writer.close()
