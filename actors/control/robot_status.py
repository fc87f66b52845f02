"""The report of a control loop on its status board, a few times a second."""

from __future__ import annotations

from typing import Any

from .command_source import CommandSource
from .histogram import Histogram
from .missed_ticks import MissedTicks
from .plan_memory import PlanMemory, Word
from .request_cycle import RequestCycle


def shown_state(plan: PlanMemory, cycle: RequestCycle) -> str:
    """The fail-safe's state; PAUSED, or MANUAL while a person commands, in front of it."""
    if plan.words[Word.MANUAL_NS]:
        return "MANUAL"
    return "PAUSED" if cycle.failsafe.paused else cycle.state.value


def status(
    plan: PlanMemory,
    cycle: RequestCycle,
    source: CommandSource,
    lateness: Histogram,
    missed: MissedTicks,
    now_ns: int,
) -> dict[str, Any]:
    """The report. Counts continue over all incarnations, except where their name differs.

    `stalled_ticks`: ticks of a robot that is enabled, not paused and whose driver is alive, for
    which the plan had no action; not counted from a start or reset until its first chunk came or
    was late by degraded_after_s. `refused_commands`: what the plan had and the limits refused;
    `action_age_s`: the age of the observation behind the next action, None without a plan;
    `refusing_s`: for how long now all of it, `refusing`: why. `driver_gaps`: how often the driver
    was gone; `void_dropped`: actions that were planned for such a gap.

    `missed_ticks` excludes what the machine's pauses and the wait for a processor explain
    (`missed_ticks_machine`) and grid points at which no process was there (`missed_ticks_restart`).
    `max_command_gap_ms`: the longest time between two commands of which the second continued the
    first, whatever was killed in between.
    """
    words = plan.words
    age_ns = cycle.buffer.age_ns(now_ns)
    return {
        "state": shown_state(plan, cycle),
        "task": cycle.session.task.sentence,
        "supply": cycle.state.value,
        "paused": cycle.failsafe.paused,
        "enabled": cycle.session.enabled,
        "reason": cycle.reason,
        "ticks": words[Word.TICKS],
        "missed_ticks": missed.own,
        "missed_ticks_machine": missed.machine,
        "missed_ticks_restart": words[Word.MISSED_RESTART],
        "tick_lateness_us": lateness.summary_us(),
        "tick_lateness_buckets_us": lateness.buckets_us(),
        "plan_s": round(cycle.plan_ns / 1e9, 3),
        "action_age_s": None if age_ns is None else round(age_ns / 1e9, 3),
        "requests": words[Word.REQUESTS],
        "merged": words[Word.MERGES],
        "dropped": cycle.buffer.dropped,
        "request_latency_ms": cycle.latency.summary_ms(),
        "stalled_ticks": words[Word.STALLED],
        "stale_dropped": words[Word.STALE],
        "driver_gaps": words[Word.DRIVER_GAPS],
        "void_dropped": words[Word.VOID],
        "refused_commands": source.refused,
        "refusing_s": round(source.refusing_s, 3),
        "refusing": source.refusing,
        "fallback_ticks": words[Word.FALLBACKS],
        "episodes": words[Word.RESETS],
        "episode": words[Word.EPISODE],
        "epoch": words[Word.EPOCH],
        "max_command_gap_ms": round(words[Word.MAX_GAP_NS] / 1e6, 2),
        "merge": cycle.rule.mode,
        "warnings": cycle.warnings,
        "plan_found": plan.found,
    }
