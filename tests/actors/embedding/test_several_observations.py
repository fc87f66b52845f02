"""Scripts and policies that see several observations, and how a script's plan is continued."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec
import numpy as np
import pytest

from holdfast import (
    CameraFeature,
    Chunk,
    Observation,
    PlanSettings,
    PolicyLostError,
    PolicySpec,
    RemotePolicy,
    RtcSettings,
    serve,
)
from holdfast.tests.actors.embedding.conftest import Loop
from holdfast.tests.waiting import wait_until

SPEC = PolicySpec(
    model="looking-back",
    revision="1",
    cameras=(CameraFeature("top", 16, 12),),
    state_names=("n",),
    action_names=("a",),
    chunk_size=30,
    fps=50.0,
    prefix="guided",
    max_prefix_steps=30,
    observation_steps=3,
    observation_stride_steps=4,
)


class Serving:
    """A policy that a thread serves as `back`; `seen` is what it gets."""

    def __init__(self, spec: PolicySpec, broker: dict[str, str]) -> None:
        self.spec, self.seen = spec, list[Observation]()
        self._stop = threading.Event()
        self._thread = threading.Thread(
            target=serve,
            args=(self._predict, spec),
            kwargs={"service": "back", "broker": broker["back"], "stop": self._stop},
        )
        self._thread.start()

    def _predict(self, batch: Sequence[Observation]) -> list[Chunk]:
        self.seen.extend(batch)
        chunk = np.zeros((self.spec.chunk_size, 1), np.float32)
        return [Chunk(chunk, chunk) for _ in batch]

    def end(self) -> None:
        self._stop.set()
        self._thread.join(60)
        assert not self._thread.is_alive()


Serve = Callable[[PolicySpec], Serving]


@pytest.fixture
def serving(broker: dict[str, str]) -> Iterator[Serve]:
    """Serves policies, and ends that."""
    made: list[Serving] = []

    def start(spec: PolicySpec) -> Serving:
        made.append(Serving(spec, broker))
        return made[-1]

    yield start
    for each in made:
        each.end()


def robot(broker: dict[str, str], **options: Any) -> RemotePolicy:
    return RemotePolicy(
        "back",
        action_names=("a",),
        state_names=("n",),
        cameras={"top": (16, 12)},
        fps=50.0,
        broker=broker["tcp"],
        **options,
    )


def test_a_script_sends_the_observations_of_its_calls_and_its_own_rtc_settings(
    broker: dict[str, str], serving: Serve
) -> None:
    """Over TCP; each image is that of its state's call, and an episode begins anew."""
    rtc = RtcSettings(execution_horizon=9, schedule="linear", clip=3.0)
    policy = robot(broker, plan=PlanSettings(rtc=rtc, buffer_time_s=0.4))
    seen = serving(SPEC).seen
    calls = 0

    def act() -> None:
        nonlocal calls
        calls += 1
        image = np.full((12, 16, 3), calls % 256, np.uint8)
        policy.act({"state": [calls], "images": {"top": image}})
        time.sleep(0.02)

    def requests(count: int) -> Callable[[], bool]:
        def asked() -> bool:
            act()
            return len(seen) >= count

        return asked

    with policy:
        policy.wait(60)
        del seen[:]  # the warm-up's
        wait_until(requests(6), "six requests")
        before = len(seen)
        policy.reset()
        first = calls + 1
        wait_until(requests(before + 2), "requests of the next episode")
    later = [o for o in seen if o.state[0] >= first]
    for observation in seen:
        states = observation.state_history
        assert states is not None and states[-1] == observation.state
        assert (np.diff(states[:, 0]) >= 0).all()
        images = observation.image_history["top"][:, 0, 0, 0]
        assert images.tolist() == (states[:, 0] % 256).tolist()
        assert (observation.execution_horizon, observation.guidance_clip) == (9, 3.0)
        assert observation.guidance_schedule == "linear"
    assert later and all(o.state_history is not None for o in later)
    assert min(o.state_history.min() for o in later if o.state_history is not None) == first


def test_a_script_gets_the_stride_right_whatever_the_requests_intervals(
    loop: Callable[..., Loop],
) -> None:
    """Exactly, where each call comes in its step."""
    script = loop(plan=PlanSettings(buffer_time_s=0.3))
    script.server.several = (3, 4)
    histories: list[Any] = script.server.histories
    calls = 0
    for took_s in (0.02, 0.1, 0.25):
        script.server.took_s = took_s
        for _ in range(120):
            calls += 1
            script.policy.act({"state": [calls]})
            script.clock.sleep(1 / 30)
    assert len(histories) > 6
    for history in histories:
        newest = history.states[-1, 0]
        assert history.states[:, 0].tolist() == [max(newest - 8, 1), max(newest - 4, 1), newest]


def test_a_script_that_keeps_too_little_for_a_policy_is_refused(
    broker: dict[str, str], serving: Serve
) -> None:
    """At the handshake, with the figures."""
    serving(msgspec.structs.replace(SPEC, observation_stride_steps=100))
    with robot(broker) as policy, pytest.raises(PolicyLostError, match="of 64 steps, 200 are"):
        policy.wait(60)


@pytest.mark.parametrize("before", ["none", "guided"])
def test_a_service_that_gains_or_loses_its_prefix_capability_ends_a_scripts_policy(
    broker: dict[str, str], serving: Serve, before: Any
) -> None:
    """The merge rule does not change in silence."""
    after: Any = "guided" if before == "none" else "none"
    first = serving(msgspec.structs.replace(SPEC, prefix=before))
    observation = {"state": [1], "images": {"top": np.zeros((12, 16, 3), np.uint8)}}

    def ended() -> bool:
        try:
            policy.act(observation)
        except PolicyLostError as lost:
            return "continues the plan under way (real-time chunking)" in str(lost)
        time.sleep(0.02)
        return False

    with robot(broker) as policy:
        policy.wait(60)
        wait_until(lambda: policy.act(observation) is not None, "an action")
        first.end()
        serving(msgspec.structs.replace(SPEC, prefix=after))
        wait_until(ended, "the end of the policy")
