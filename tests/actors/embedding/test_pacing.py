"""Time in a script's loop: which action a call gets, what counts as late, what as a break."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from holdfast import PlanSettings, PolicyLostError, SafetySettings

from .conftest import Loop

BY_TIME = PlanSettings(trim="time", buffer_time_s=1.0)
DT = 1 / 30
Make = Callable[..., Loop]


def lateness(played: list[tuple[float, float | None]]) -> NDArray[np.float64]:
    """How long ago each action was meant for, in seconds."""
    return np.array([now_s - meant_s for now_s, meant_s in played if meant_s is not None])


@pytest.mark.parametrize("hz", [12, 25, 30, 47, 100])
def test_a_call_of_act_trimmed_by_time_plays_the_action_for_its_instant(
    loop: Make, hz: float
) -> None:
    """Within a step, whatever the loop's rate: float32 seconds are exact to 8 µs here."""
    script = loop(plan=BY_TIME)
    script.run(hz, 2)
    late = lateness(script.run(hz, 5))
    assert len(late) == hz * 5, "no call is left without an action"
    assert abs(late).max() < DT + 0.001


def test_a_call_of_act_plays_the_next_action_by_default(loop: Make) -> None:
    """A slow loop moves slowly, along the same path."""
    script = loop(chunk_size=200, plan=PlanSettings(buffer_time_s=0.5))
    script.run(12, 1)
    meant_s = [each for _, each in script.run(12, 2) if each is not None]
    assert np.allclose(np.diff(meant_s), DT, atol=1e-4)


@pytest.mark.parametrize("hz", [12, 30, 100])
def test_a_request_announces_its_delay_in_steps_of_the_measured_rate(loop: Make, hz: float) -> None:
    """The declared rate does not count."""
    script = loop(chunk_size=200)
    script.server.took_s = 0.3
    script.run(hz, 12)
    announced = script.server.asked[-1].delay_steps
    assert 0.3 * hz - 1 <= announced <= 0.3 * hz + 3


def test_a_fast_loop_asks_for_its_next_chunk_in_time(loop: Make) -> None:
    """At 100 Hz a plan of 50 steps lasts half a second: no step stalls."""
    script = loop(chunk_size=100)
    script.server.took_s = 0.3
    script.run(100, 5)
    stalled = script.policy.stats().stalled_steps
    script.run(100, 5)
    assert script.policy.stats().stalled_steps == stalled


@pytest.mark.parametrize("hz", [25, 36])
def test_a_loop_of_another_rate_is_warned_once_and_shown_in_its_stats(
    loop: Make, hz: float, caplog: pytest.LogCaptureFixture
) -> None:
    """The warning goes once the rate is as declared."""
    script = loop()
    with caplog.at_level(logging.WARNING):
        script.run(hz, 6)
    (warning,) = script.policy.warnings
    assert f"{hz} times a second" in warning and "fps says 30" in warning
    assert script.policy.stats().fps == pytest.approx(hz, rel=0.02)
    assert len([r for r in caplog.records if "times a second" in r.getMessage()]) == 1
    script.run(30, 6)
    assert script.policy.warnings == ()


def test_a_hiccup_is_not_warned_of_as_another_rate(loop: Make) -> None:
    """Two windows in a row must differ."""
    script = loop()
    script.run(30, 4)
    script.clock.sleep(0.4)
    script.run(30, 0.7)
    script.run(30, 0.7)
    assert script.policy.warnings == ()


def test_missed_steps_are_those_whose_time_passed_between_two_calls(loop: Make) -> None:
    """A loop that is exact misses none."""
    script = loop()
    script.run(30, 3)
    assert script.policy.stats().missed_steps == 0
    script.clock.sleep(10 * DT)
    script.run(30, 1)
    assert script.policy.stats().missed_steps == 10


@pytest.mark.parametrize("trim", ["consumed", "time"])
def test_a_break_costs_neither_the_session_nor_missed_steps(loop: Make, trim: Any) -> None:
    """An hour in which nothing was due is no time offline."""
    script = loop(
        plan=PlanSettings(trim=trim), safety=SafetySettings(max_offline_s=6, request_timeout_s=2)
    )
    for _ in range(3):
        played = script.run(30, 4)
        assert script.policy.state == "STREAMING"
        assert sum(meant_s is None for _, meant_s in played) < 15
        script.clock.sleep(3600)
        script.policy.reset()
    assert script.policy.stats().missed_steps == 0
    p99_ms = script.policy.latency_ms["p99"]
    assert p99_ms is not None and p99_ms < 500
    assert len(script.server.opened) == 1


def test_the_latency_of_a_request_excludes_a_break(loop: Make) -> None:
    """p99 stays that of the answers."""
    script = loop()
    script.server.took_s = 0.3
    script.run(30, 3)
    asked = len(script.server.asked)
    while len(script.server.asked) == asked:
        script.run(30, DT)
    script.clock.sleep(2.0)
    script.run(30, 3)
    assert script.policy.state == "STREAMING"
    p99_ms = script.policy.latency_ms["p99"]
    assert p99_ms is not None and p99_ms < 500


def test_a_server_that_stops_answering_loses_the_policy(loop: Make) -> None:
    """PolicyLostError at max_offline_s; the last heartbeat is DEAD."""
    script = loop(safety=SafetySettings(max_offline_s=6, request_timeout_s=1))
    script.run(30, 3)
    script.server.answers = False
    with pytest.raises(PolicyLostError, match="max_offline_s"):
        script.run(30, 12)
    assert script.server.beats[-1][1].state == "DEAD"


def test_a_paused_policy_plays_and_requests_nothing_and_loses_no_time(loop: Make) -> None:
    """`pause` and `resume` are idempotent."""
    script = loop(safety=SafetySettings(max_offline_s=6))
    script.run(30, 3)
    script.policy.pause()
    script.policy.pause()
    asked = len(script.server.asked)
    assert script.policy.state == script.policy.stats().state == "PAUSED"
    assert {meant_s for _, meant_s in script.run(30, 20)} == {None}
    assert len(script.server.asked) == asked
    script.policy.resume()
    script.policy.resume()
    played = script.run(30, 3)
    assert script.policy.state == "STREAMING"
    assert played[-1][1] is not None
    assert script.policy.stats().missed_steps == 0


@pytest.mark.parametrize("calls", [False, True])
def test_a_pause_moves_the_deadlines_once(loop: Make, calls: bool) -> None:
    """With and without calls of act meanwhile, a loss after it is noticed as early as ever."""
    script = loop(safety=SafetySettings(max_offline_s=6, request_timeout_s=1))
    script.run(30, 3)
    script.policy.pause()
    if calls:
        script.run(30, 60)
    else:
        script.clock.sleep(60)
    script.policy.resume()
    script.server.answers = False
    began_s = script.clock.monotonic()
    with pytest.raises(PolicyLostError):
        script.run(30, 60)
    assert script.clock.monotonic() - began_s < 10


def test_a_paused_velocity_is_zero(loop: Make) -> None:
    """`act` returns zeros, not None."""
    script = loop(control_mode="velocity")
    script.run(30, 2)
    script.policy.pause()
    action = script.act()
    assert action is not None and not action.any()


def test_a_warning_of_the_service_is_readable_and_logged_once(
    loop: Make, caplog: pytest.LogCaptureFixture
) -> None:
    """It is in `warnings` and in `stats`."""
    script = loop()
    script.server.warnings = ("state values are named [shoulder]",)
    with caplog.at_level(logging.WARNING):
        script.run(30, 2)
    assert script.policy.warnings == script.server.warnings
    assert script.policy.stats().warnings == script.server.warnings
    logged = [r.getMessage() for r in caplog.records if "shoulder" in r.getMessage()]
    assert logged == ["robot r: state values are named [shoulder]"]


def test_a_heartbeat_carries_the_stats_before_and_in_a_session(loop: Make) -> None:
    """In epoch 0 without one, with the broker's address in the reason."""
    script = loop()
    script.server.answers = False
    script.run(30, 1)
    epoch, vitals = script.server.beats[-1]
    assert (epoch, vitals.state) == (0, "CONNECTING")
    assert "ipc:///nowhere" in vitals.reason == script.policy.reason
    script.server.answers = True
    script.run(30, 6)
    epoch, vitals = script.server.beats[-1]
    assert epoch == script.server.opened[-1]
    assert vitals.state == "STREAMING" and vitals.reason == ""


GOOD = st.just({"state": np.zeros(1), "images": {"top": np.zeros((4, 6, 3), np.uint8)}})
WRONG = st.sampled_from(
    [
        {},
        None,
        {"state": None},
        {"state": "x"},
        {"state": np.zeros(2)},
        {"state": [float("nan")]},
        {"state": np.zeros(1)},
        {"state": np.zeros(1), "images": {"top": [[0]]}},
        {"state": np.zeros(1), "images": {"top": np.zeros((6, 4, 3), np.uint8)}},
        *(
            {"state": np.zeros(1), "images": {"top": np.zeros((4, 6, 3), np.uint8)}, "task": task}
            for task in (None, b"x", ["x"], "x" * 3000, "\ud800", 3)
        ),
    ]
)
FAILURE = st.sampled_from([KeyboardInterrupt(), MemoryError(), ValueError("x")])


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(calls=st.lists(GOOD | WRONG | FAILURE, max_size=60), gap_s=st.sampled_from([DT, 0.2, 2.0]))
def test_a_policy_streams_on_whatever_act_raised(
    loop: Make, calls: list[Any], gap_s: float
) -> None:
    """No request that was never sent counts as outstanding."""
    script = loop(cameras={"top": (6, 4)})
    good = {"state": np.zeros(1), "images": {"top": np.zeros((4, 6, 3), np.uint8)}}
    for call in calls:
        script.server.raises = call if isinstance(call, BaseException) else None
        observation = good if isinstance(call, BaseException) else call
        with contextlib.suppress(KeyboardInterrupt, MemoryError, TypeError, ValueError):
            script.policy.act(observation)
        outstanding = script.policy._loop.buffer.outstanding
        if outstanding is not None:
            assert outstanding.seq == script.server.asked[-1].asked.seq
        script.clock.sleep(gap_s)
    script.server.raises = None
    for _ in range(120):
        script.policy.act(good)
        script.clock.sleep(DT)
    assert script.policy.state == "STREAMING"
    script.policy.close()
