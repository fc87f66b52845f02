"""A pre- and postprocessor for each session, with steps in the place of the library's."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from holdfast.policy.lerobot import processor_pairs
from holdfast.policy.lerobot.processor_pairs import ProcessorPair, ProcessorPairs


class Tokens:
    """A large object that keeps no state."""


Tokens.__module__ = "transformers.tokens"


@dataclass
class RelativeActionsProcessorStep:
    """Keeps the state that it saw last, as the library's step of this name."""

    enabled: bool = True
    tokens: Tokens = field(default_factory=Tokens)
    seen: list[float] = field(default_factory=list)


@dataclass
class AbsoluteStep:
    """Refers to the step of the other pipeline."""

    relative_step: RelativeActionsProcessorStep


@dataclass
class Pipeline:
    """The part of the library's pipeline that is looked at."""

    steps: list[Any]


def pairs() -> ProcessorPairs:
    """Of a policy of relative actions."""
    relative = RelativeActionsProcessorStep()
    return ProcessorPairs(Pipeline([relative]), Pipeline([AbsoluteStep(relative)]))


def test_a_session_keeps_its_pair_and_no_other_sees_its_state() -> None:
    """What a step keeps in a list is a session's own, too."""
    given = pairs()
    first, second = given.of("r1:1:0"), given.of("r2:1:0")
    first.before.steps[0].seen.append(1.0)
    assert given.of("r1:1:0") is first
    assert second.before.steps[0].seen == []
    assert given.of("r1:1:1").before.steps[0].seen == []
    assert given.original.before.steps[0].seen == []


def test_a_pairs_parts_refer_to_each_other() -> None:
    """Absolute actions count from the state that the same pair's preprocessor saw."""
    pair = pairs().of("r1")
    assert pair.after.steps[0].relative_step is pair.before.steps[0] is pair.relative


def test_a_tokenizer_is_not_copied() -> None:
    """A copy for each session would take its memory each time."""
    given = pairs()
    tokens = {id(given.of(name).before.steps[0].tokens) for name in ("r1", "r2")}
    assert tokens == {id(given.original.before.steps[0].tokens)}


def test_a_reset_forgets_and_only_the_sessions_used_last_are_kept() -> None:
    """Sessions end without a word to the policy."""
    given = pairs()
    first = given.of("r0")
    given.forget()
    assert given.of("r0") is not first
    first = given.of("r0")
    for k in range(1, processor_pairs.MAX_PAIRS + 1):
        given.of(f"r{k}")
    assert given.of("r0") is not first


def test_a_step_that_is_off_makes_no_action_relative() -> None:
    """The pi0 family always has the step."""
    off = RelativeActionsProcessorStep(enabled=False)
    assert ProcessorPair(Pipeline([off]), Pipeline([])).relative is None
