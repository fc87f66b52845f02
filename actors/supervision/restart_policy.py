"""What an actor's rules say of its failures: when it counts as hung, whether and when it starts
again. Pure."""

from __future__ import annotations

import signal

import msgspec

from ..runtime.spec import Rules
from .supervised import ActorRecord

EXIT_REASONS = {3: "refused its configuration", 4: "is dead until a person restarts it"}
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
