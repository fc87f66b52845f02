"""A replica in a thread of this process."""

from __future__ import annotations

import threading
from contextlib import AbstractContextManager
from typing import Any, Protocol

from holdfast.actors.inference.replica import InferenceActor
from holdfast.actors.runtime.actor import Boot
from holdfast.actors.runtime.status_board import StatusBoardReader
from holdfast.actors.runtime.supervisor_link import Link, SupervisorLink


class Replica:
    """An InferenceActor in a thread, and its supervisor's end of the link."""

    def __init__(self, boot: Boot, link: Link, supervisor: SupervisorLink) -> None:
        self.boot, self.link, self.supervisor = boot, link, supervisor
        self.actor = InferenceActor(boot, link)
        self.codes: list[int] = []
        self.thread = threading.Thread(
            target=lambda: self.codes.append(self.actor.main()), daemon=True
        )

    def status(self) -> dict[str, Any]:
        """The last report."""
        return StatusBoardReader(self.boot.memory["pick/0/board"]).report() or {}

    def end(self) -> int:
        """Wait for its end; the exit code."""
        self.thread.join(60)
        assert not self.thread.is_alive()
        return self.codes[0]


class StartReplica(Protocol):
    """The fixture `replica`."""

    def __call__(
        self, segments: dict[str, int] | None = None, **config: Any
    ) -> AbstractContextManager[Replica]: ...
