"""The order in which a fleet's actors start and stop, and what each waits for. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from ..runtime.spec import Member
from .supervised import ActorRecord, ActorState


def is_coming(actor: ActorRecord | None) -> bool:
    """True while it may still become ready without a person's help."""
    return (
        actor is not None
        and actor.wanted
        and actor.state not in (ActorState.READY, ActorState.FAILED)
    )


def is_going(actor: ActorRecord | None) -> bool:
    """True while it is being ended."""
    return actor is not None and actor.state is ActorState.STOPPING


def earlier_in_group(members: Mapping[str, Member], name: str) -> list[str]:
    """The members of its group that are listed before `name`."""
    group = _group(members, name)
    return group[: group.index(name)] if group else []


def later_in_group(members: Mapping[str, Member], name: str) -> list[str]:
    """The members of its group that are listed after `name`."""
    group = _group(members, name)
    return group[group.index(name) + 1 :] if group else []


def still_needed(members: Mapping[str, Member], actors: Mapping[str, ActorRecord]) -> set[str]:
    """The actors that a live one comes after: they stop later."""
    return {
        before for name, actor in actors.items() if actor.alive for before in members[name].after
    }


def _group(members: Mapping[str, Member], name: str) -> list[str]:
    """The group of `name` in start order, itself included; empty without a group."""
    group = members[name].group
    return [other for other, member in members.items() if group and member.group == group]
