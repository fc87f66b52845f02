"""The attempts of a simulated robot, as its driver begins them."""

from __future__ import annotations

from pathlib import Path

from holdfast.actors.driver.wake import ask
from holdfast.tests.actors.simulated_driver import driven, said, scene_in
from holdfast.tests.waiting import wait_until


def test_an_attempt_begins_once_however_often_it_is_asked_for(
    simulated: dict[str, object],
) -> None:
    """The request names the attempt that is to end; another one under way is the answer already."""

    def number() -> int:
        state = said(memory)
        return state.episode.number if state is not None and state.episode is not None else 0

    with driven(simulated) as (_, memory):
        first = wait_until(number, "the first attempt")
        for _ in range(3):
            answer = ask(Path(str(simulated["wake"])), {"do": "episode", "after": first}, 60.0)
            assert answer == {"begun": True, "error": ""}
        wait_until(lambda: number() == first + 1, "the next attempt")
        assert scene_in(memory).episode == first + 1
