"""`Task`: what a robot's policy is asked to do, and who said so last."""

from __future__ import annotations

import msgspec

from ...transport.limits import DEFAULT


class Task(msgspec.Struct):
    """One robot's. The last to name a task decides: the fleet file, the robot's surroundings (at
    every episode of theirs), a person or a script. It outlives a restart of the loop: see `Kept`.
    A longer one of the surroundings is cut to what a message may carry.

    Attributes:
        sentence: what every request carries.
        configured: what the fleet file said; a file that says something else since is followed.
        surroundings: what the surroundings said last; None if they never did.
        pending: whether it changed in mid-episode and no chunk of it has come yet.
        pinned: the only task of the service that last accepted the robot; None if it takes any.
    """

    sentence: str
    configured: str
    surroundings: str | None = None
    pending: bool = False
    pinned: str | None = None

    @classmethod
    def resume(cls, kept: Task | None, configured: str) -> Task:
        """The task of an incarnation: as `kept` by the one before, or as configured now."""
        if kept is not None and kept.configured == configured:
            return kept
        return cls(configured, configured)

    def give(self, sentence: str) -> bool:
        """Take a task from a person or a script; whether it is another one."""
        changed = sentence != self.sentence
        self.sentence = sentence
        return changed

    def follow(self, sentence: str) -> bool:
        """Take what the surroundings say, at every tick; whether the task is another one. What they
        said before does not count again: a task that was given since stays."""
        # In a simulated cell, an episode's success is judged by the episode's own task. The cell
        # names it when it begins an episode, which thereby ends the task of a person.
        sentence = sentence[: DEFAULT.max_text_chars]
        if sentence == self.surroundings:
            return False
        self.surroundings = sentence
        return self.give(sentence)

    def fault(self, sentence: str, service: str) -> str:
        """Why `service` would refuse a request of this task; empty if it would not."""
        return _fault(sentence, self.pinned, service)

    def misfit(self, pinned: str | None, service: str) -> str:
        """Why `service`, which is pinned to that task, would refuse requests of the present one;
        empty if it would not."""
        return _fault(self.sentence, pinned, service)


def _fault(sentence: str, pinned: str | None, service: str) -> str:
    if pinned is None or sentence in ("", pinned):
        return ""
    return (
        f"service '{service}' is pinned to {pinned!r} and does not do {sentence!r}: give "
        "that task or none, or remove `pin_task` from the service"
    )
