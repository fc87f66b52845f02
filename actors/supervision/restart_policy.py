"""What an actor's rules say of its failures: when it counts as hung, whether and when it starts
again. Pure."""

from __future__ import annotations

import signal

import msgspec

from ..runtime.spec import Member, Rules
from .supervised import ActorRecord, ActorState

EXIT_DEAD = 4
EXIT_REASONS = {3: "refused its configuration", EXIT_DEAD: "is dead until a person restarts it"}
"""Exit codes after which a restart is pointless."""


class RestartDecision(msgspec.Struct, frozen=True):
    """What follows a failure: a restart at once (`delay_s` 0), one after `delay_s`, or none."""

    failures: int
    """In a row, this one included."""
    recent_s: tuple[float, ...]
    """The restarts that count for the window."""
    too_often: str
    """Why there is no restart: how often it failed; empty when there is one."""
    delay_s: float


def after_failure(actor: ActorRecord, rules: Rules, now_s: float, jitter: float) -> RestartDecision:
    """The decision on a failure of `actor` at `now_s`; `jitter` is in [0, 1)."""
    settled = now_s - actor.ready_at_s >= rules.settle_s
    failures = 1 if settled else actor.failures + 1
    recent_s = tuple(at_s for at_s in actor.restarted_at_s if at_s > now_s - rules.window_s)
    too_often = ""
    if failures > rules.max_restarts:
        too_often = f"{failures} times in a row, never up for {rules.settle_s:g} s"
    elif len(recent_s) >= rules.max_restarts:
        too_often = f"{len(recent_s) + 1} times within {rules.window_s:g} s"
    delay_s = 0.0
    if failures > 1:
        backoff_s = min(rules.backoff_s * 2.0 ** (failures - 2), rules.max_backoff_s)
        # Half of it is jitter, so that actors that failed together do not restart together.
        delay_s = backoff_s * (0.5 + 0.5 * jitter)
    return RestartDecision(failures, recent_s, too_often, delay_s)


def hang_timeout_s(actor: ActorRecord, rules: Rules) -> float:
    """For how long `actor` may make no progress before it counts as hung."""
    return max(rules.hang_timeout_s, actor.hang_timeout_s)


def in_question(actor: ActorRecord, rules: Rules, now_s: float) -> bool:
    """Whether `actor` may soon count as one that does not start, or as hung. From then on the time
    that it waits for a processor is taken off: a restart would make an overloaded machine slower
    still."""
    if actor.state is ActorState.STARTING:
        return True
    silent_s = now_s - actor.progressed_at_s
    return actor.state is ActorState.READY and silent_s >= hang_timeout_s(actor, rules) / 2


def hang_text(member: Member, timeout_s: float, call: str) -> str:
    """The reason of one that made no progress for `timeout_s`; `call`: the one that it reported
    to be in, or empty."""
    where = f": {call} has not returned" if call else ""
    hint = member.hang_hint and f"; {member.hang_hint}"
    return f"hung: no progress for {timeout_s:g} s{where}{hint}"


def remedy(name: str) -> str:
    """What a person does about an actor that was given up."""
    return f"mend the cause, then `actorctl start {name}`"


def refusal_text(name: str, code: int, error: str | None) -> str:
    """The reason of an exit after which a restart is pointless. `code` is of EXIT_REASONS."""
    reason = f"{EXIT_REASONS[code]}: {error or exit_text(code)}"
    # What lifts DEAD depends on the robot: the status says it in the robot's row.
    return reason if code == EXIT_DEAD else f"{reason}; {remedy(name)}"


def exit_text(code: int | None, error: str | None = None) -> str:
    """`killed by SIGKILL`, `exited with status 1: no such camera`. `code` is as in `Exited`."""
    if code is None:
        return error or "could not be started"
    if error:
        return f"{exit_text(code)}: {error}"
    if code < 0:
        try:
            return f"killed by {signal.Signals(-code).name}"
        except ValueError:
            return f"killed by signal {-code}"
    return f"exited with status {code}"
