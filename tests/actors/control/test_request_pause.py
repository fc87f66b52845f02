"""How long a robot waits before its next request: after an error, a reset, a full socket."""

from __future__ import annotations

from typing import Any

import numpy as np

from holdfast.actors.control.plan import Drop
from holdfast.actors.control.request_cycle import RequestCycle
from holdfast.tests.actors.control.request_cycles import (
    CHUNK,
    MS,
    S,
    ask,
    key,
    new_cycle,
    opened,
    streaming,
)


def fails(cycle: RequestCycle, now_ns: int, **how: Any) -> None:
    """Make a request, and answer it with an error."""
    asked = cycle.ask(now_ns, 10, now_ns)
    assert asked is not None
    cycle.asked(now_ns)
    cycle.failed("policy: it said no", (asked.asked.seq, 0, 1), now_ns, **how)


def pause_ms(cycle: RequestCycle, now_ns: int) -> int:
    """How long the robot waits before its next request."""
    for ms in range(0, 60_000, 10):
        if cycle.ask(now_ns + ms * MS, 10, now_ns + ms * MS) is not None:
            cycle.buffer.settle(Drop.TIMEOUT)
            return ms
    raise AssertionError("it never asks again")


def test_the_pause_between_requests_doubles_with_each_error_until_one_succeeds() -> None:
    """From 0.1 s to 5 s; the reason is that of the last error."""
    cycle, now_ns, pauses = opened(new_cycle()), S, []
    for _ in range(8):
        fails(cycle, now_ns)
        pauses.append(pause_ms(cycle, now_ns))
        now_ns += 10 * S
    assert pauses == [100, 200, 400, 800, 1600, 3200, 5000, 5000]
    assert cycle.why.request == "policy: it said no"
    asked = cycle.ask(now_ns, 10, now_ns)
    assert asked is not None
    cycle.replied(CHUNK[:1], CHUNK[:1], (asked.asked.seq, 0, 1), 10, now_ns)
    assert cycle.reason == ""
    fails(cycle, now_ns)
    assert pause_ms(cycle, now_ns) == 100


def test_a_refusal_of_the_robot_s_own_network_actor_does_not_lengthen_the_pause() -> None:
    """It costs the service nothing: the next request goes out in 0.1 s."""
    cycle, now_ns = opened(new_cycle()), S
    for _ in range(5):
        fails(cycle, now_ns, near=True)
        assert pause_ms(cycle, now_ns) == 100
        now_ns += 10 * S
    assert cycle.buffer.dropped == {"error": 5, "timeout": 5}


def test_a_request_that_was_lost_with_a_connection_is_asked_again_at_once() -> None:
    """Without a pause; the chunk that answers it all the same is not asked for any more."""
    cycle = opened(new_cycle())
    first = ask(cycle, S)
    before = key(cycle)
    cycle.lost("the connection broke", before, S)
    assert cycle.why.request == "the connection broke"
    assert ask(cycle, S).asked.seq > first.asked.seq
    assert cycle.replied(CHUNK, CHUNK, before, 10, S) is Drop.UNASKED
    assert cycle.buffer.dropped == {"abandoned": 1, "unasked": 1}


def test_a_request_that_could_not_be_sent_is_not_awaited() -> None:
    """It is counted as unsent, and nothing is outstanding."""
    cycle = opened(new_cycle())
    assert cycle.ask(S, 10, S) is not None
    cycle.unsent(S)
    assert cycle.buffer.outstanding is None
    assert cycle.buffer.dropped == {Drop.UNSENT.value: 1}


def test_the_first_request_of_an_episode_waits_until_the_cameras_have_seen_it() -> None:
    """40 ms after its first tick; only this one has `episode_start`."""
    cycle = streaming()
    cycle.reset()
    for late in (0, 39):
        assert cycle.ask(5 * S, 10, 5 * S + late * MS) is None
    asked = cycle.ask(5 * S, 10, 5 * S + 40 * MS)
    assert asked is not None and asked.episode_start
    cycle.asked(5 * S + 40 * MS)
    assert cycle.replied(CHUNK, CHUNK, key(cycle), 10, 5 * S + 50 * MS) is None
    while cycle.buffer.pop(5 * S) is not None:
        pass
    following = cycle.ask(5 * S + 60 * MS, 10, 5 * S + 60 * MS)
    assert following is not None and not following.episode_start, "without another pause"


def test_a_broken_chunk_slows_the_requests_down_and_a_late_one_does_not() -> None:
    """Each has its own reason."""
    cycle = opened(new_cycle(plan_settings={"trim": "time"}))
    ask(cycle, S, step=10)
    assert cycle.replied(CHUNK, CHUNK, key(cycle), 30, S) is Drop.EXPIRED
    assert cycle.why.request == "s/0 answers too late: the chunk was expired"
    ask(cycle, S)
    bad = np.full((10, 2), np.nan, np.float32)
    assert cycle.replied(bad, bad, key(cycle), 10, S) is Drop.NOT_FINITE
    assert cycle.why.request == "s/0 sends chunks that cannot be played: not_finite"
    assert cycle.ask(S, 10, S + 99 * MS) is None
    assert cycle.ask(S, 10, S + 100 * MS) is not None


def test_an_unsent_request_is_repeated_after_50_ms() -> None:
    """The reason names the network actor's endpoint meanwhile."""
    cycle = opened(new_cycle())
    assert cycle.ask(S, 10, S) is not None
    cycle.unsent(S)
    assert cycle.reason == "the network actor takes no request at e"
    assert cycle.ask(S, 10, S + 49 * MS) is None
    assert cycle.ask(S, 10, S + 50 * MS) is not None
