"""`DeliveredCommands`: those that a fleet's actors answer themselves (`pause`, `resume`, ...)."""

from __future__ import annotations

import itertools
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from ...errors import RequestDeclinedError
from ..runtime.link_messages import CommandReply
from .control_socket import ControlClient

if TYPE_CHECKING:
    from .supervisor import Supervisor

ANSWER_S = 5.0
"""How long an actor may take to answer a command, unless it is one that saves."""


class _Waiting(NamedTuple):
    """A client that waits for the reply of `actor`: until `deadline_s` (monotonic), which is
    `within_s` after the command was sent."""

    client: ControlClient
    actor: str
    deadline_s: float
    within_s: float


class DeliveredCommands:
    """Delivers them, and answers each client once: with the actor's reply, or with an error when
    the actor ends before that or takes too long."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor
        self._ids = itertools.count(1)
        self._waiting: dict[int, _Waiting] = {}

    def send(
        self,
        client: ControlClient,
        names: list[str],
        verb: str,
        args: dict[str, Any],
        within_s: float,
    ) -> None:
        """Send the command `verb` to the only one of `names`, which has `within_s` to answer.
        Raises RequestDeclinedError for several names, and where it cannot be sent."""
        if len(names) != 1:
            raise RequestDeclinedError(f"{verb} takes one name, got {len(names)}")
        process = self._supervisor.processes[names[0]].process
        id = next(self._ids)
        try:
            sent = process is not None and process.link.command(verb, args, id)
        except ValueError as error:
            raise RequestDeclinedError(f"{names[0]} cannot be sent this: {error}") from error
        if not sent:
            state = self._supervisor.state.actors[names[0]].state
            raise RequestDeclinedError(f"{names[0]} cannot be sent {verb!r}: it is {state}")
        deadline_s = time.monotonic() + within_s
        self._waiting[id] = _Waiting(client, names[0], deadline_s, within_s)

    def answered(self, actor: str, reply: CommandReply) -> None:
        """Pass on the reply of `actor` to a command. One to another actor's command is ignored."""
        waiting = self._waiting.get(reply.id)
        if waiting is None or waiting.actor != actor:
            return
        del self._waiting[reply.id]
        if reply.error is not None:
            waiting.client.refuse(f"{actor}: {reply.error}")
        else:
            waiting.client.reply({"ok": True, "name": actor, "result": reply.result})

    def exited(self, actor: str, how: str) -> None:
        """Refuse the requests that wait for `actor`, whose process has ended."""
        for id, waiting in list(self._waiting.items()):
            if waiting.actor == actor:
                del self._waiting[id]
                waiting.client.refuse(f"{actor} {how} before it answered; see `actorctl status`")

    def expire(self, now_s: float) -> None:
        """Refuse the requests whose actor did not answer in time."""
        for id, (client, actor, deadline_s, within_s) in list(self._waiting.items()):
            if now_s >= deadline_s:
                del self._waiting[id]
                why = f"{actor} did not answer within {within_s:g} s; see `actorctl status`"
                client.refuse(why)
