"""The order in which the device serves requests: pure, no clock, no sockets, no policy.

Each session has a mailbox of one: a newer request replaces an older one that waits, so that
overload makes cycles longer and never queues. Ready sessions are served
earliest deadline first, where a request's deadline is its arrival plus the playback its robot had
left; up to `max_batch` requests of the same shape go together. In `round_robin` order sessions are
served one at a time, the least recently served first.

Guarantees, for every sequence of requests:

- Nothing starves. Slack counts up to `max_slack_ns`, and a newer request inherits the deadline of
  the one it replaces where that is earlier (a robot that repeats itself does not move to the back).
  So once a request's deadline has passed, each other session is served at most once before it.
- A request that could be served alone waits at most `max_wait_ns` for others to share its batch,
  never beyond its own deadline, and not at all once every open session has a request here.
- A session's requests are taken in the order of their `seq`, each at most once.

It does not promise deadlines: with more work than the device can do they are missed in turn.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Generic, Literal, TypeVar

import msgspec

T = TypeVar("T")

Order = Literal["deadline", "round_robin"]


class Job(msgspec.Struct, Generic[T], frozen=True):
    """One request that waits for the device. Instants are monotonic ns of this host.

    Requests of equal `shape` can share a batch; at `expires_ns` the robot stops waiting.
    """

    session: str
    seq: int
    shape: Hashable
    arrived_ns: int
    deadline_ns: int
    expires_ns: int
    payload: T


class Schedule(Generic[T]):
    """The mailboxes of all sessions of one replica.

    `order` is `deadline` or `round_robin`, which implies batches of one.
    """

    def __init__(
        self,
        *,
        max_batch: int,
        max_wait_ns: int,
        order: Order = "deadline",
        max_slack_ns: int = 10_000_000_000,
    ) -> None:
        self.max_batch = max_batch if order == "deadline" else 1
        self._max_wait_ns = max_wait_ns
        self._max_slack_ns = max_slack_ns
        self._order: Order = order
        self._waiting: dict[str, Job[T]] = {}
        self._last_turn: dict[str, int] = {}
        self._turns = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, job: Job[T]) -> Job[T] | None:
        """Put `job` into its session's mailbox; return the request that is dropped for it, if any:
        the older one there, or `job` itself if it is not newer.
        """
        waiting = self._waiting.get(job.session)
        if waiting is not None and waiting.seq >= job.seq:
            return job
        deadline_ns = min(job.deadline_ns, job.arrived_ns + self._max_slack_ns)
        if waiting is not None:
            deadline_ns = min(deadline_ns, waiting.deadline_ns)
        if deadline_ns != job.deadline_ns:
            job = msgspec.structs.replace(job, deadline_ns=deadline_ns)
        self._waiting[job.session] = job
        return waiting

    def remove(self, session: str) -> Job[T] | None:
        """Remove the request and the turn of a session that ended or began a new episode."""
        self._last_turn.pop(session, None)
        return self._waiting.pop(session, None)

    def expire(self, now_ns: int) -> list[Job[T]]:
        """Remove and return the requests whose robots no longer wait."""
        expired = [job for job in self._waiting.values() if job.expires_ns <= now_ns]
        for job in expired:
            del self._waiting[job.session]
        return expired

    def due_ns(self, now_ns: int, sessions: int) -> int | None:
        """The instant from which `take` returns a batch, `now_ns` or later; None if nothing waits.

        `sessions` counts the open sessions, with a request or without.
        """
        if not self._waiting:
            return None
        if len(self._waiting) >= sessions:
            return now_ns
        batch = self._batch()
        if len(batch) >= self.max_batch:
            return now_ns
        waits_until_ns = min(job.arrived_ns for job in batch) + self._max_wait_ns
        return max(now_ns, min(waits_until_ns, batch[0].deadline_ns))

    def take(self, now_ns: int, sessions: int) -> list[Job[T]]:
        """Remove and return the next batch, most urgent first; empty before `due_ns`."""
        due_ns = self.due_ns(now_ns, sessions)
        if due_ns is None or due_ns > now_ns:
            return []
        batch = self._batch()
        for job in batch:
            del self._waiting[job.session]
            self._turns += 1
            self._last_turn[job.session] = self._turns
        return batch

    def _batch(self) -> list[Job[T]]:
        """The most urgent request and those of its shape that would share its batch."""
        if len(self._waiting) == 1:
            return list(self._waiting.values())
        ready = sorted(self._waiting.values(), key=self._urgency)
        shape = ready[0].shape
        return [job for job in ready if job.shape == shape][: self.max_batch]

    def _urgency(self, job: Job[T]) -> tuple[int, int]:
        turn = self._last_turn.get(job.session, 0)
        if self._order == "round_robin":
            return turn, job.arrived_ns
        return job.deadline_ns, turn
