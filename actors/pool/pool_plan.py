"""`steps`: what a pool does next to have the replicas that are wanted. Pure.

A replica that has to go is drained and ended once its robots have moved, one at a time. One of an
earlier configuration is replaced: another is started before it, where the pool has a number left.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

State = Literal["starting", "ready", "draining", "ended"]
"""`starting` is every replica that does not serve yet or again, `ended` one that has left the
service on purpose."""


class PooledMember(NamedTuple):
    """One replica of a pool. `current`: it has the configuration of the fleet file."""

    state: State
    current: bool = True


class PoolStep(NamedTuple):
    """What to do with the replica of that number: `end` gives its resources back."""

    do: Literal["start", "drain", "end"]
    number: int


def steps(members: Mapping[int, PooledMember], wanted: int, numbers: range) -> list[PoolStep]:
    """What to do now, for `wanted` of the `numbers`."""
    made = [PoolStep("end", k) for k, member in members.items() if member.state == "ended"]
    staying = {k: m for k, m in members.items() if m.state in ("starting", "ready")}
    outdated = [k for k, m in staying.items() if not m.current]
    free = [k for k in numbers if k not in members]
    lacking = wanted - len(staying)
    if outdated and lacking == 0:
        lacking = 1  # the one that comes in the place of an outdated one
    made += [PoolStep("start", k) for k in free[: max(0, lacking)]]
    if any(member.state == "draining" for member in members.values()):
        return made
    if stray := [k for k in staying if k not in numbers]:
        made.append(PoolStep("drain", stray[-1]))
    elif outdated:
        follow = all(m.state == "ready" for m in staying.values() if m.current)
        if follow and (len(staying) > wanted or len(staying) >= len(numbers)):
            made.append(PoolStep("drain", outdated[-1]))
    elif len(staying) > wanted:
        # One that does not serve yet goes first.
        last = max(staying, key=lambda k: (staying[k].state != "ready", k))
        made.append(PoolStep("drain", last))
    return made
