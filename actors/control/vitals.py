"""`vitals`: the figures of a robot's loop that its heartbeats carry to the broker.

On its own host the loop reports by its status board (robot_status.py); with these figures a robot
of another host, or a script's, is shown where the broker is.
"""

from __future__ import annotations

from ...transport.bodies import Vitals
from ...transport.limits import DEFAULT
from .command_source import CommandSource
from .plan_memory import PlanMemory, Word
from .request_cycle import RequestCycle
from .robot_status import shown_state


def vitals(
    plan: PlanMemory,
    cycle: RequestCycle,
    source: CommandSource,
    *,
    fps: float,
    interpolate: int = 1,
    reason: str | None = None,
    warnings: tuple[str, ...] = (),
) -> Vitals:
    """The figures now. `fps` is the measured rate of policy steps, each of `interpolate` ticks;
    `reason` stands in for the cycle's own, `warnings` are the loop's."""
    words = plan.words
    missed = words[Word.MISSED] + words[Word.MISSED_RESTART]
    handshake = cycle.session.terms.warnings if cycle.session.terms else ()
    return Vitals(
        state=shown_state(plan, cycle),
        reason=_cut(cycle.reason if reason is None else reason),
        plan_s=round(cycle.plan_ns / 1e9, 3),
        fps=round(fps, 2),
        steps=words[Word.TICKS] // interpolate,
        missed_steps=missed // interpolate,
        stalled_steps=words[Word.STALLED],
        refused=sum(source.refused.values()),
        refusing_s=round(source.refusing_s, 1),
        refusing=_cut(source.refusing),
        dropped=cycle.buffer.dropped,
        latency_ms={name: ms for name, ms in cycle.latency.summary_ms().items() if ms is not None},
        warnings=tuple(map(_cut, (*handshake, *warnings)))[: DEFAULT.max_items],
    )


def _cut(text: str) -> str:
    """As much of `text` as the wire takes: a message that breaks a limit is dropped whole."""
    return text[: DEFAULT.max_text_chars]
