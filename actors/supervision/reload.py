"""What a changed fleet.yaml means for the processes that run: the difference, before it is made."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from ..fleet.expand import ActorSpec


class Difference(msgspec.Struct, frozen=True):
    """By actor. `changed` says which keys of an actor's configuration, or which of its segments,
    are different, so that its process has to be replaced; a change of its restart rules alone needs
    no new process."""

    added: tuple[str, ...]
    removed: tuple[str, ...]
    changed: dict[str, list[str]]
    same: tuple[str, ...]


def differences(old: Iterable[ActorSpec], new: Iterable[ActorSpec]) -> Difference:
    """From the fleet `old` to the fleet `new`."""
    before = {actor.name: actor for actor in old}
    after = {actor.name: actor for actor in new}
    changed = {
        name: found
        for name, actor in after.items()
        if name in before and (found := list(_changes(before[name], actor)))
    }
    return Difference(
        added=tuple(name for name in after if name not in before),
        removed=tuple(name for name in before if name not in after),
        changed=changed,
        same=tuple(name for name in after if name in before and name not in changed),
    )


def _changes(old: ActorSpec, new: ActorSpec) -> Iterable[str]:
    if old.kind != new.kind:
        yield f"kind: {old.kind} -> {new.kind}"
    for key in old.config | new.config:
        was, becomes = old.config.get(key), new.config.get(key)
        if was != becomes:
            yield f"{key}: {_short(was)} -> {_short(becomes)}"
    segments = {use.name: use for use in old.segments}, {use.name: use for use in new.segments}
    for name in segments[0] | segments[1]:
        if segments[0].get(name) != segments[1].get(name):
            yield f"shared memory {name}"


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
