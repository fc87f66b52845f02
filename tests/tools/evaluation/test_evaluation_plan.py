"""The order of an evaluation's episodes."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.tools.evaluation.evaluation_plan import EvaluationPlan

PLANS = st.builds(
    EvaluationPlan,
    fleet=st.just("f"),
    service=st.just("a"),
    against=st.sampled_from([None, "b"]),
    robots=st.sampled_from([("r1",), ("r1", "r2"), ("r3", "r1", "r2")]),
    episodes=st.integers(1, 40),
    seed=st.integers(0, 2**31),
)


@given(PLANS)
def test_each_service_gets_its_episodes_in_pairs_on_one_robot(plan: EvaluationPlan) -> None:
    """Each pair has both services, one after the other; robots take turns; numbers count up."""
    slots, size = plan.slots(), len(plan.services)
    assert [slot.number for slot in slots] == list(range(size * plan.episodes))
    for pair in range(plan.episodes):
        both = slots[pair * size : (pair + 1) * size]
        assert sorted(slot.service for slot in both) == sorted(plan.services)
        assert {slot.robot for slot in both} == {plan.robots[pair % len(plan.robots)]}


@given(PLANS)
def test_the_same_plan_has_the_same_order_also_after_a_file(plan: EvaluationPlan) -> None:
    """An evaluation that was cut short goes on in its own order."""
    again = msgspec.json.decode(msgspec.json.encode(plan), type=EvaluationPlan)
    assert again == plan and again.slots() == plan.slots()


def test_either_service_comes_first_about_half_of_the_time() -> None:
    """Drawn for each pair, and otherwise for another seed."""
    orders = []
    for seed in range(20):
        plan = EvaluationPlan(
            fleet="f", service="a", against="b", robots=("r1",), episodes=50, seed=seed
        )
        first = [slot.service for slot in plan.slots()[::2]]
        assert 10 <= first.count("a") <= 40
        orders.append(tuple(first))
    assert len(set(orders)) == len(orders)


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"robots": ()}, "one or more, each once"),
        ({"robots": ("r1", "r1")}, "one or more, each once"),
        ({"episodes": 0}, "1 episode or more"),
        ({"time_limit_s": 0.0}, "more than 0 s"),
        ({"against": "a"}, "against itself"),
    ],
)
def test_a_plan_that_cannot_be_is_refused(wrong: dict[str, object], why: str) -> None:
    """Each error says what was expected."""
    right = {"fleet": "f", "service": "a", "robots": ("r1",), "episodes": 3}
    with pytest.raises(ValueError, match=why):
        EvaluationPlan(**{**right, **wrong})  # type: ignore[arg-type]
