"""`RemotePolicy`: a served policy in a script's own control loop.

The script calls `act` once per control step, at its own pace; it gets the action for that step
from a plan that a background worker keeps filled. `act` never waits: for the network, for the
policy, for anything. It is the control actor's plan and fail-safe without its process: a script
that is killed loses its plan.

    with RemotePolicy("pick", action_names=..., state_names=..., cameras=...) as policy:
        policy.wait(10)
        while running:
            action = policy.act({"state": state, "images": {"top": image}})
            if action is not None:      # None: hold
                arm.write(action)
            sleep_until_next_tick()
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from mmap import mmap
from pathlib import Path
from typing import Any, Self

import msgspec
import numpy as np
import zmq
from numpy.typing import NDArray

from ...robot.base import ControlMode, RobotSpec
from ...transport import link
from ...transport.frames import FrameRing
from ...transport.messages import Vitals
from ..configs import CameraFeed, NetworkConfig
from ..control.buffer import ChunkBuffer
from ..control.config import ControlConfig, PlanSettings, SafetySettings, faults
from ..control.failsafe import State
from ..control.pace import Pace
from ..control.playback import Playback
from ..control.segment import SEGMENT_BYTES, PlanSegment, Word
from ..control.supply import Supply
from ..control.uplink import Uplink
from ..control.vitals import vitals
from ..network.network import NetworkActor
from .discovery import front_of
from .worker import Worker

_BEAT_NS = 200_000_000
_BREAK_NS = 1_000_000_000
"""Between two calls of `act`: a loop that slow is not in its episode."""


class PolicyLost(Exception):
    """The policy may not be used any more: the message says why. Bring the robot to rest."""


class RemotePolicy:
    """One robot's session with a service. Use it from one thread."""

    def __init__(
        self,
        service: str,
        *,
        action_names: Sequence[str],
        state_names: Sequence[str],
        cameras: Mapping[str, tuple[int, int]],
        fps: float = 30.0,
        robot: str = "script",
        task: str = "",
        control_mode: ControlMode | str = ControlMode.POSITION,
        broker: str | None = None,
        jpeg_quality: int = 0,
        plan: PlanSettings | None = None,
        safety: SafetySettings | None = None,
        key: str | None = None,
        broker_key: str | None = None,
    ) -> None:
        """Names are the policy's; `cameras` are (width, height) of the images `act` will get.

        `broker` is its front endpoint (`tcp://host:7447`); by default that of the fleet that runs
        on this machine. `jpeg_quality` 0 sends raw pixels: right on one machine, use 90 across a
        network. Raises ValueError for settings that cannot work.
        """
        mode = ControlMode(control_mode)
        spec = _spec(tuple(action_names), tuple(state_names), mode)
        self._rings = {name: f"{robot}/{name}" for name in cameras}
        self._shapes = {name: (h, w, 3) for name, (w, h) in cameras.items()}
        front = broker or front_of()

        def network(directory: Path) -> dict[str, Any]:
            feeds = {
                name: CameraFeed(segment=self._rings[name], width=w, height=h)
                for name, (w, h) in cameras.items()
            }
            return msgspec.to_builtins(  # type: ignore[no-any-return]
                NetworkConfig(
                    robot=robot,
                    service=service,
                    control=link.ipc(directory, "network"),
                    broker=front,
                    cameras=feeds,
                    state_names=spec.state_names,
                    action_names=spec.action_names,
                    jpeg_quality=jpeg_quality,
                    audit_bytes=0,
                    script=True,
                    key=key,
                    broker_key=broker_key,
                )
            )

        config = ControlConfig(
            robot=robot,
            driver="script",
            service=service,
            endpoint="",
            plan="plan",
            fps=fps,
            task=task,
            plan_settings=plan or PlanSettings(),
            safety=safety or SafetySettings(),
        )
        if wrong := faults(config, mode):
            raise ValueError(f"robot {robot}: " + "; ".join(wrong))
        sizes = {self._rings[n]: FrameRing.size_for(shape) for n, shape in self._shapes.items()}
        self._worker = Worker(NetworkActor, f"{robot}/network", network, sizes)
        config = msgspec.structs.replace(
            config, endpoint=link.ipc(self._worker.directory, "network")
        )
        self._cameras = {
            name: FrameRing(self._worker.memory[self._rings[name]], shape)
            for name, shape in self._shapes.items()
        }
        self._spec = spec
        self._segment = segment = PlanSegment(
            mmap(-1, SEGMENT_BYTES), robot, len(spec.action_names)
        )
        age_ns = round(config.safety.max_action_age_s * 1e9)
        self._buffer = ChunkBuffer(segment, age_ns)
        self._supply = Supply(config, spec, segment, self._buffer)
        self._playback = Playback(config, spec, segment, self._buffer)
        self._context: link.Context = zmq.Context()
        # Epochs rise over restarts of the script too: the broker forgets an old session late.
        segment.words[Word.EPOCH] = self._worker.incarnation
        self._uplink = Uplink(self._context, config, self._worker.incarnation)
        self._step = 0
        self._pace = Pace(_BREAK_NS)
        self._beat_ns = 0

    @property
    def state(self) -> str:
        """The fail-safe's state: CONNECTING, STREAMING, DEGRADED, STALLED, RECONNECTING, DEAD."""
        return self._supply.state.value

    @property
    def reason(self) -> str:
        """Why the state is what it is, where somebody gave a reason; else empty."""
        return self._supply.reason or self._worker.failure

    @property
    def plan_s(self) -> float:
        """How long the plan lasts, in seconds."""
        return self._supply.plan_ns / 1e9

    @property
    def latency_ms(self) -> dict[str, float | None]:
        """p50 and p99 of the time from asking to having a chunk."""
        return dict(self._supply.latency.summary_ms())

    def stats(self) -> Vitals:
        """How this robot fares: the figures that `actorctl status` shows of it."""
        return vitals(
            self._segment,
            self._supply,
            self._playback,
            fps=self._pace.hz,
            reason=self._worker.failure,
        )

    def wait(self, timeout_s: float = 10.0) -> None:
        """Wait until the service has accepted this robot: before the robot is enabled.

        Raises PolicyLost when it refuses, TimeoutError when nobody answered in time.
        """
        deadline = time.monotonic() + timeout_s
        while not self._supply.enabled or not self._supply.failsafe.session_open:
            self._converse(time.monotonic_ns())
            if time.monotonic() > deadline:
                raise TimeoutError(
                    f"no service accepted this robot within {timeout_s:g} s "
                    f"({self.reason or 'nobody answered'}): see `actorctl status`, and the "
                    "broker's address"
                )
            time.sleep(0.01)

    def act(self, observation: Mapping[str, Any]) -> NDArray[np.float32] | None:
        """The action for this control step, float32 [A], or None to hold. Never blocks.

        `observation`: `state` [S], `images` {name: uint8 [h, w, 3] RGB} for every camera, and
        `task` where it changes. Raises ValueError when it does not fit what was declared,
        PolicyLost when the policy must not be used any more.
        """
        now = time.monotonic_ns()
        state = self._checked(observation)
        if "task" in observation and observation["task"] != self._supply.task:
            self._supply.follow_task(observation["task"])
        self._converse(now)
        ask = self._supply.ask(now, self._step, now)
        command = self._playback.command(now, due=self._supply.failsafe.action_due)
        if ask is not None:
            for name, ring in self._cameras.items():
                ring.put(observation["images"][name], now)
            if self._uplink.ask(ask, state, now):
                self._supply.asked(now)
            else:
                self._supply.unsent(now)
        self._step += 1
        self._segment.words[Word.TICKS] += 1
        self._pace.step(now)
        return None if command is None else command.copy()

    def reset(self, task: str | None = None) -> None:
        """An episode begins: the plan of the one before is void."""
        episode = self._supply.reset(task)
        self._playback.interrupt()
        if self._supply.failsafe.session_open:
            self._uplink.reset(episode, self._supply.epoch)

    def close(self) -> None:
        """End the session and the worker. Idempotent."""
        if self._context.closed:
            return
        if self._supply.failsafe.session_open:
            self._uplink.close(self._supply.epoch, "the script ended")
        else:
            self._uplink.socket.close(linger=0)
        self._context.term()
        self._worker.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _converse(self, now: int) -> None:
        """Everything between two actions: what arrived, what time did, what is to be said."""
        self._worker.keep()
        self._uplink.drain(self._supply, self._step, now)
        self._supply.elapse(now)
        if self._supply.state is State.DEAD:
            raise PolicyLost(self.reason)
        epoch = self._supply.open_epoch(now)
        if epoch is not None:
            if self._uplink.open(self._spec, epoch, self._supply.task):
                self._supply.opening(epoch, now)
            else:
                self._supply.unopened()
        if now - self._beat_ns >= _BEAT_NS:
            self._beat_ns = now
            epoch = self._supply.epoch if self._supply.failsafe.session_open else 0
            self._uplink.beat(epoch, self._step, self.stats())

    def _checked(self, observation: Mapping[str, Any]) -> NDArray[np.float32]:
        state = np.asarray(observation["state"], np.float32)
        if state.shape != (len(self._spec.state_names),):
            raise ValueError(
                f"state of shape {state.shape}, expected one number for each of "
                f"{', '.join(self._spec.state_names)}"
            )
        images = observation.get("images", {})
        for name, shape in self._shapes.items():
            image = images.get(name)
            if image is None or image.shape != shape or image.dtype != np.uint8:
                found = "no image" if image is None else f"an image {image.dtype} {image.shape}"
                raise ValueError(f"camera {name}: {found}, expected uint8 {shape} RGB")
        return state


def _spec(actions: tuple[str, ...], states: tuple[str, ...], mode: ControlMode) -> RobotSpec:
    """The script's robot: it enforces its own limits."""
    endless = (math.inf,) * len(actions)
    return RobotSpec(actions, states, mode, tuple(-x for x in endless), endless, endless)
