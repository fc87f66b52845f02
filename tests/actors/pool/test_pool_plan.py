"""What a pool does next to have the replicas that are wanted."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from holdfast.actors.pool.pool_plan import PooledMember, PoolStep, State, steps

NUMBERS = range(2, 7)
STATES: list[State] = ["starting", "ready", "draining", "ended"]
MEMBERS = st.dictionaries(
    st.integers(0, 9), st.builds(PooledMember, st.sampled_from(STATES), st.booleans()), max_size=8
)


def follow(members: dict[int, PooledMember], wanted: int) -> list[dict[int, PooledMember]]:
    """Do what is next, and let each replica do what it is to, until nothing changes."""
    seen = [dict(members)]
    for _ in range(60):
        todo = steps(members, wanted, NUMBERS)
        for do, number in todo:
            if do == "start":
                assert number not in members and number in NUMBERS
                members[number] = PooledMember("starting")
            elif do == "drain":
                members[number] = members[number]._replace(state="draining")
            else:
                del members[number]
        seen.append(dict(members))
        if not todo and all(m.state == "ready" for m in members.values()):
            return seen
        for number, member in members.items():
            if member.state == "starting":
                members[number] = member._replace(state="ready")
            elif member.state == "draining" and not any(s.do == "drain" for s in todo):
                members[number] = member._replace(state="ended")
    raise AssertionError("it does not come to rest")


@given(MEMBERS, st.integers(1, 5))
def test_a_pool_ends_with_the_wanted_replicas_of_its_file(
    members: dict[int, PooledMember], wanted: int
) -> None:
    """Whatever it found: all have its numbers and its configuration, and serve."""
    last = follow(members, wanted)[-1]
    assert len(last) == wanted
    assert all(k in NUMBERS and m == PooledMember("ready") for k, m in last.items())


@given(MEMBERS, st.integers(1, 5))
def test_a_pool_drains_one_replica_at_a_time(members: dict[int, PooledMember], wanted: int) -> None:
    """And never one beside another that drains already."""
    drains = [step for step in steps(members, wanted, NUMBERS) if step.do == "drain"]
    assert len(drains) <= 1
    assert not drains or not any(m.state == "draining" for m in members.values())


@given(
    st.dictionaries(
        st.sampled_from(NUMBERS), st.builds(PooledMember, st.just("ready"), st.booleans())
    ),
    st.integers(1, 4),
)
def test_a_pool_serves_with_the_wanted_replicas_while_it_replaces_them(
    members: dict[int, PooledMember], wanted: int
) -> None:
    """An outdated one goes once the one in its place is ready, as long as a number is free."""
    enough = len(members) >= wanted
    for each in follow(members, wanted):
        serving = sum(m.state == "ready" for m in each.values())
        assert not enough or serving >= wanted


def test_a_replica_that_has_left_is_ended_and_its_number_used_again() -> None:
    """In two turns: its name is free only then."""
    members = {2: PooledMember("ended"), 3: PooledMember("ready")}
    assert steps(members, 2, range(2, 4)) == [PoolStep("end", 2)]
    del members[2]
    assert steps(members, 2, range(2, 4)) == [PoolStep("start", 2)]


def test_of_replicas_that_are_too_many_one_that_does_not_serve_goes_first() -> None:
    """Its robots, if it has any, would have to move."""
    members = {2: PooledMember("starting"), 3: PooledMember("ready")}
    assert steps(members, 1, NUMBERS) == [PoolStep("drain", 2)]
