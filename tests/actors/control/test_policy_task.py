"""A task that changes in mid-episode: what is asked for, what is merged, and who decides."""

from __future__ import annotations

import numpy as np
import pytest

from holdfast.actors.control.plan import Drop
from holdfast.actors.control.plan_memory import PLAN_BYTES
from holdfast.actors.control.supply_state import SupplyState
from holdfast.transport.limits import DEFAULT

from .request_cycles import CHUNK, MS, SPEC, TERMS, S, ask, key, new_cycle, opened, streaming


def test_a_chunk_of_another_task_is_asked_for_at_once_with_the_plan_as_its_prefix() -> None:
    """However long the plan is, which stays; a task that is the same asks for nothing."""
    cycle = streaming(task="pick")
    cycle.change_task("pick")
    assert cycle.ask(S, 10, S) is None, "the plan is full"
    cycle.change_task("place")
    asked = ask(cycle, S)
    assert asked.task == "place" and not asked.episode_start
    assert asked.prefix is not None and len(asked.prefix) == TERMS.max_prefix_steps
    assert len(cycle.buffer) == len(CHUNK)


def test_an_answer_to_the_task_before_does_not_become_part_of_the_plan() -> None:
    """It is counted, and the request that replaces it goes out at the next step."""
    cycle = streaming(task="pick")
    while len(cycle.buffer) > 2:
        cycle.buffer.pop(S)
    ask(cycle, 2 * S)
    before = key(cycle)
    cycle.change_task("place")
    assert cycle.buffer.dropped == {Drop.TASK.value: 1}
    assert cycle.replied(CHUNK + 1, CHUNK + 1, before, 10, 2 * S) is Drop.UNASKED
    assert ask(cycle, 2 * S).task == "place"
    assert cycle.replied(CHUNK + 2, CHUNK + 2, key(cycle), 10, 2 * S) is None
    action = cycle.buffer.pop(2 * S)
    assert action is not None and action.robot[0] == 2.0
    assert cycle.ask(2 * S, 10, 2 * S) is None, "once the new plan is there, nothing is due"


def test_a_task_that_changes_faster_than_the_service_answers_gets_chunks() -> None:
    """The request of a change is answered before the next change is asked for."""
    cycle = streaming(task="0")
    merged = []
    asked_n = 0
    for n in range(1, 99):
        now_ns = S + n * 10 * MS
        cycle.change_task(str(n))
        if cycle.ask(now_ns, 10, now_ns) is not None:
            cycle.asked(now_ns)
            asked_n, asked_key = n, key(cycle)
        elif n == asked_n + 6:
            merged.append(cycle.replied(CHUNK, CHUNK, asked_key, 10, now_ns))
    assert merged == [None] * 14
    assert cycle.session.task.pending, "the last chunk is of an earlier task"
    assert ask(cycle, 2 * S).task == "98"


@pytest.mark.parametrize("merge", ["replace", "append", "blend"])
@pytest.mark.parametrize("prefix", ["guided", "none"])
def test_the_chunk_of_a_change_replaces_the_rest_of_the_plan(merge: str, prefix: str) -> None:
    """Without a prefix its first actions are dropped, as many as were played meanwhile."""
    cycle = opened(new_cycle(task="pick", plan_settings={"merge": merge}), prefix=prefix)
    ask(cycle, S)
    assert cycle.replied(CHUNK, CHUNK, key(cycle), 10, S) is None
    cycle.change_task("place")
    asked = ask(cycle, S)
    assert (asked.prefix is None) is (prefix == "none")
    for _ in range(3):
        cycle.buffer.pop(S)
    new = CHUNK + 5 + np.arange(len(CHUNK), dtype=np.float32)[:, None]
    assert cycle.replied(new, new, key(cycle), 13, S) is None
    played = [action.robot[0] for action in iter(lambda: cycle.buffer.pop(S), None)]
    assert played == [5.0 + n for n in range(3, len(CHUNK))]


def test_a_chunk_of_a_change_that_fails_to_come_is_asked_for_again() -> None:
    """After an error's pause; a robot that gets none is late, though its plan is full."""
    cycle = streaming(task="pick")
    cycle.change_task("place")
    ask(cycle, S)
    cycle.failed("busy: later", key(cycle), S)
    assert cycle.ask(S, 10, S) is None
    assert ask(cycle, 2 * S).task == "place"
    cycle.elapse(2 * S)
    cycle.elapse(3 * S)
    assert cycle.state is SupplyState.DEGRADED


def test_what_the_surroundings_said_is_known_after_a_restart() -> None:
    """Also if the task was the same already, so that nothing changed."""
    memory = bytearray(PLAN_BYTES)
    cycle = opened(new_cycle(memory, task="pick"))
    cycle.follow_task("pick")
    later = new_cycle(memory, task="pick")
    later.change_task("place")
    later.follow_task("pick")
    assert later.session.task.sentence == "place"


def test_a_change_survives_the_loop_and_is_still_asked_for_at_once() -> None:
    """The next incarnation has the task and the plan of the one before."""
    memory = bytearray(PLAN_BYTES)
    cycle = opened(new_cycle(memory, task="pick"))
    ask(cycle, S)
    assert cycle.replied(CHUNK, CHUNK, key(cycle), 10, S) is None
    cycle.change_task("place")
    later = opened(new_cycle(memory, task="pick"))
    assert len(later.buffer) == len(CHUNK)
    assert ask(later, S).task == "place"
    assert later.replied(CHUNK, CHUNK, key(later), 10, S) is None
    assert not new_cycle(memory, task="pick").session.task.pending


def test_a_fleet_file_that_names_another_task_is_followed() -> None:
    """What was given under the earlier file no longer counts."""
    memory = bytearray(PLAN_BYTES)
    opened(new_cycle(memory, task="pick")).change_task("place")
    assert new_cycle(memory, task="stack").session.task.sentence == "stack"


def test_a_person_s_task_lasts_until_the_surroundings_name_one_again() -> None:
    """They say theirs at every tick: only another sentence or another episode counts."""
    memory = bytearray(PLAN_BYTES)
    cycle = opened(new_cycle(memory))
    cycle.follow_task("the left bin")
    cycle.change_task("the right bin")
    cycle.follow_task("the left bin")
    assert cycle.session.task.sentence == "the right bin"
    later = new_cycle(memory)
    later.follow_task("the left bin")
    assert later.session.task.sentence == "the right bin", "after a restart of the loop too"
    later.reset("the left bin")
    assert later.session.task.sentence == "the left bin"
    later.change_task("the right bin")
    later.follow_task("the upper bin")
    assert later.session.task.sentence == "the upper bin"


def test_a_pinned_service_is_known_to_do_no_other_task() -> None:
    """By its handshake, also without a session and after a restart of the loop."""
    memory = bytearray(PLAN_BYTES)
    cycle = opened(new_cycle(memory), pin_task="pick")
    cycle.session.lost("gone", 1, S)
    for each in (cycle, new_cycle(memory)):
        assert each.session.task_fault("pick") == each.session.task_fault("") == ""
        why = each.session.task_fault("dance")
        assert "service 's' is pinned to 'pick' and does not do 'dance'" in why
    assert opened(new_cycle()).session.task_fault("dance") == ""


def test_tasks_of_the_greatest_length_are_kept() -> None:
    """Of four bytes a character, from all who may name one; a longer one is cut."""
    most = DEFAULT.max_text_chars
    memory = bytearray(PLAN_BYTES)
    cycle = opened(new_cycle(memory, task="\U0001f980" * most), pin_task="\U0001f98b" * most)
    cycle.follow_task("\U0001f40c" * (most + 9))
    cycle.change_task("\U0001f41d" * most)
    kept = new_cycle(memory, task="\U0001f980" * most).session
    assert kept.task.sentence == "\U0001f41d" * most
    assert kept.task.surroundings == "\U0001f40c" * most
    assert kept.contract is not None and kept.contract.action_names == SPEC.action_names
