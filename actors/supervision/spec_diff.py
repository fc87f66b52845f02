"""The difference between two lists of actors: which processes a changed fleet.yaml replaces."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec
from msgspec.structs import replace

from ..runtime.spec import ActorSpec


class SpecDiff(msgspec.Struct, frozen=True):
    """The names of actors. `changed` lists for each the keys of its configuration, or the segments,
    that are different, so that its process has to be replaced; `reconfigured` those that a process
    takes over while it runs, where no others differ. A change of its restart rules alone needs
    neither."""

    added: tuple[str, ...]
    removed: tuple[str, ...]
    changed: dict[str, list[str]]
    reconfigured: dict[str, list[str]]
    same: tuple[str, ...]


def differences(old: Iterable[ActorSpec], new: Iterable[ActorSpec]) -> SpecDiff:
    """The difference from the fleet `old` to the fleet `new`."""
    before = {actor.name: actor for actor in old}
    after = {actor.name: actor for actor in new}
    both = [(before[name], actor) for name, actor in after.items() if name in before]
    changed: dict[str, list[str]] = {}
    reconfigured: dict[str, list[str]] = {}
    for was, becomes in both:
        while_it_runs = list(_changes(taken_over(was), taken_over(becomes)))
        if found := list(_changes(_rest(was), _rest(becomes))):
            changed[becomes.name] = found + while_it_runs
        elif while_it_runs:
            reconfigured[becomes.name] = while_it_runs
    unlike = changed | reconfigured
    return SpecDiff(
        added=tuple(name for name in after if name not in before),
        removed=tuple(name for name in before if name not in after),
        changed=changed,
        reconfigured=reconfigured,
        same=tuple(actor.name for _, actor in both if actor.name not in unlike),
    )


def taken_over(actor: ActorSpec) -> ActorSpec:
    """The part of `actor` whose changes its process takes over while it runs: those keys of its
    configuration, and the segments that they name."""
    config = {key: actor.config.get(key) for key in actor.reconfigurable}
    named = set(_texts(config))
    segments = tuple(use for use in actor.segments if use.name in named)
    return replace(actor, config=config, segments=segments)


def _rest(actor: ActorSpec) -> ActorSpec:
    part = taken_over(actor)
    config = {key: value for key, value in actor.config.items() if key not in part.config}
    segments = tuple(use for use in actor.segments if use not in part.segments)
    return replace(actor, config=config, segments=segments)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list | tuple):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _texts(part)


def _changes(old: ActorSpec, new: ActorSpec) -> Iterable[str]:
    if old.kind != new.kind:
        yield f"kind: {old.kind} -> {new.kind}"
    if old.python != new.python:
        yield f"python: {_short(old.python)} -> {_short(new.python)}"
    yield from _differing(old.config, new.config)
    segments = {use.name: use for use in old.segments}, {use.name: use for use in new.segments}
    for name in segments[0] | segments[1]:
        if name not in segments[1]:
            yield f"without shared memory {name}"
        elif name not in segments[0]:
            yield f"with shared memory {name}"
        elif segments[0][name] != segments[1][name]:
            yield f"shared memory {name}"


def _differing(old: dict[str, Any], new: dict[str, Any], within: str = "") -> Iterable[str]:
    """The keys that differ, at any depth, each with both values or as gone or new."""
    for key in old | new:
        path, was, becomes = f"{within}{key}", old.get(key), new.get(key)
        if key not in new:
            yield f"{path} is gone, was {_short(was)}"
        elif key not in old:
            yield f"{path} is new: {_short(becomes)}"
        elif isinstance(was, dict) and isinstance(becomes, dict):
            yield from _differing(was, becomes, f"{path}.")
        elif was != becomes:
            yield f"{path}: {_short(was)} -> {_short(becomes)}"


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
