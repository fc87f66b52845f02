"""A robot goes over to another service, or stays with its own: case by case."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest

from holdfast.actors.control.plan_memory import PLAN_BYTES
from holdfast.actors.control.request_cycle import RequestCycle
from holdfast.actors.control.service_change import CHANGE_NS
from holdfast.actors.control.supply_state import SupplyState
from holdfast.actors.supervision.delivered_commands import ANSWER_S
from holdfast.tests.actors.control.request_cycles import TERMS, S, new_cycle, opened
from holdfast.transport.bodies import Reject

OTHER = msgspec.structs.replace(TERMS, replica="t/0", model="m2", checkpoint="c2", prefix="none")


def asked_over(memory: bytearray | None = None) -> RequestCycle:
    """A cycle whose session with `s` ended for the handshake of epoch 2, with `t`, at 2 S."""
    cycle = opened(new_cycle(memory))
    cycle.session.use("t", 2 * S)
    assert cycle.session.open_epoch(2 * S) == 2 and cycle.session.service == "t"
    cycle.session.opening(2, 2 * S)
    return cycle


def test_what_the_other_service_accepts_is_the_contract_from_then_on() -> None:
    """Another model is no change of the contract then; the next incarnation goes on with it."""
    memory = bytearray(PLAN_BYTES)
    cycle = asked_over(memory)
    assert cycle.session.enabled
    cycle.session.accepted(OTHER, 2, 2 * S)
    assert cycle.failsafe.session_open and cycle.state is SupplyState.CONNECTING
    assert cycle.session.contract is not None and cycle.session.contract.model == "m2"
    later = new_cycle(memory)
    assert later.session.service == "t" and later.session.enabled
    opened(later)
    assert later.state is SupplyState.DEAD, "the model of s is no longer the contract"


REFUSALS: dict[str, tuple[Callable[[RequestCycle], None], str]] = {
    "for now": (
        lambda c: c.session.rejected(Reject(reason="capacity", message="full"), 2, 3 * S),
        "capacity: full",
    ),
    "for good": (
        lambda c: c.session.rejected(Reject(reason="fps", message="30", final=True), 2, 3 * S),
        "fps: 30",
    ),
    "other joints": (
        lambda c: c.session.accepted(msgspec.structs.replace(OTHER, action_names=("b",)), 2, 3 * S),
        "actions are b; this robot's are a, b",
    ),
    "another task": (
        lambda c: c.session.accepted(msgspec.structs.replace(OTHER, pin_task="fold"), 2, 3 * S),
        "pinned to 'fold' and does not do 'wait'",
    ),
    "no answer": (lambda c: c.elapse(2 * S + CHANGE_NS), "not accepted within 4 s"),
    "no broker": (lambda c: c.session.lost("not reachable", 2, 3 * S), "not reachable"),
}


@pytest.mark.parametrize("how", REFUSALS)
def test_a_robot_that_is_refused_goes_back_to_its_own_service(how: str) -> None:
    """At once, under the contract that it had; the change says why."""
    refuse, why = REFUSALS[how]
    cycle = asked_over()
    cycle.change_task("wait")
    refuse(cycle)
    assert cycle.session.change is not None and why in cycle.session.change.refusal
    assert cycle.session.service == "s" and cycle.state is not SupplyState.DEAD
    now_ns = 2 * S + CHANGE_NS
    assert cycle.session.open_epoch(now_ns) == 3
    cycle.session.opening(3, now_ns)
    cycle.session.accepted(OTHER, 2, now_ns)
    assert not cycle.session.open, "the answer of the other service comes too late"
    cycle.session.accepted(TERMS, 3, now_ns)
    assert cycle.session.open


def test_a_change_that_a_kill_interrupts_did_not_happen() -> None:
    """The next incarnation asks the service before, and is bound by its contract."""
    memory = bytearray(PLAN_BYTES)
    asked_over(memory).change_task("fold")
    later = new_cycle(memory)
    assert later.session.service == "s" and later.session.task.sentence == "fold"
    opened(later, checkpoint="c2")
    assert later.state is SupplyState.DEAD


def test_a_fleet_file_that_names_another_service_is_followed() -> None:
    """Whatever a person chose before; the contract of the service before does not bind."""
    memory = bytearray(PLAN_BYTES)
    opened(new_cycle(memory))
    reloaded = new_cycle(memory, service="u")
    assert reloaded.session.service == "u" and not reloaded.session.enabled
    opened(reloaded, model="m3")
    assert reloaded.session.open
    reloaded.session.use("s", 2 * S)
    opened(reloaded, now_ns=2 * S)
    again = new_cycle(memory, service="u")
    assert (again.session.service, again.session.enabled) == ("s", True)
    assert new_cycle(memory, service="s").session.enabled, "it is bound by the contract with s"


def test_a_handshake_under_way_is_given_up_for_the_other_service() -> None:
    """Its answer opens no session; so a robot without one may change too."""
    cycle = new_cycle()
    cycle.session.opening(1, S)
    cycle.session.use("t", S)
    assert cycle.session.open_epoch(S) == 2
    cycle.session.opening(2, S)
    cycle.session.accepted(TERMS, 1, S)
    assert not cycle.session.open
    cycle.session.accepted(OTHER, 2, S)
    assert cycle.failsafe.session_open and cycle.session.service == "t"


def test_a_change_ends_before_the_supervisor_gives_its_command_up() -> None:
    """So that the answer to the command has the reason of a refusal."""
    assert CHANGE_NS / S <= ANSWER_S - 1
