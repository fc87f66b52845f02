"""`TaskChange`: another task in mid-episode, from when it is given until a chunk of it has come."""

from __future__ import annotations

from .buffer import ChunkBuffer
from .failsafe import FailSafe
from .plan import Drop, MergeRule
from .policy_session import PolicySession


class TaskChange:
    """Of one robot, whose chunks become part of the plan by `rule`. Meanwhile the plan of the task
    before is played, and a chunk is due however long that is."""

    def __init__(
        self, session: PolicySession, buffer: ChunkBuffer, failsafe: FailSafe, rule: MergeRule
    ) -> None:
        self._session, self._buffer, self._failsafe = session, buffer, failsafe
        self._rule = rule
        # The rest of a plan of the task before is neither played first nor averaged in.
        self._changing_rule = MergeRule("replace", rule.trim)
        self._asked = ""

    @property
    def pending(self) -> bool:
        """Whether the task has changed and no chunk of it has come yet."""
        return self._session.task.pending

    @property
    def rule(self) -> MergeRule:
        """How the next chunk becomes part of the plan."""
        return self._changing_rule if self.pending else self._rule

    def give(self, sentence: str) -> None:
        """A person or a script says what the task is from now on."""
        if self._session.task.give(sentence):
            self._changed()

    def follow(self, sentence: str) -> None:
        """The robot's surroundings say what it is, as they do at every tick: see `Task`."""
        task = self._session.task
        said = task.surroundings
        if task.follow(sentence):
            self._changed()
        elif task.surroundings != said:
            self._session.keep()  # it does not count again for the next incarnation either

    def asked(self) -> str:
        """A request is made; the task that it carries."""
        self._asked = self._session.task.sentence
        return self._asked

    def merged(self) -> None:
        """The chunk of the last request became part of the plan."""
        if self._asked == self._session.task.sentence:
            self._settle()

    def reset(self, sentence: str | None) -> None:
        """An episode begins, with another task if one is given: there is no plan of the one
        before."""
        if sentence is not None and self._session.task.give(sentence):
            self._session.keep()
        self._settle()

    def _changed(self) -> None:
        # A request that was made for a change is answered before the next: a task that changes
        # faster than the service answers does not leave the robot without a plan.
        if not self.pending and self._buffer.outstanding is not None:
            self._buffer.settle(Drop.TASK)
            self._failsafe.withdrawn()
        self._session.task.pending = True
        self._session.keep()

    def _settle(self) -> None:
        if self.pending:
            self._session.task.pending = False
            self._session.keep()
