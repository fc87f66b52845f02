"""`RemotePolicy`: a served policy in a script's own control loop.

It is the control actor's plan and fail-safe without its process. Guarantees that `act` never waits,
for the network or for the policy; does not guarantee that the plan outlives the script.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ... import arguments
from ...errors import NotReadyError
from ...robot.base import ControlMode, RobotSpec
from ...transport.bodies import Vitals
from ..control.config import PlanSettings, SafetySettings
from .script_config import ScriptConfig
from .script_loop import ScriptLoop

Limits = Mapping[str, Mapping[str, float]]
"""By action: `lower`, `upper` and `max_rate`."""


class RemotePolicy:
    """One robot's session with a service. Use it from one thread, in the process that made it.

    The script calls `act` once per control step, at its own pace, and gets the action for that step
    from a plan that a background worker keeps filled.

        with RemotePolicy("pick", action_names=..., state_names=..., cameras=...) as policy:
            policy.wait(10)
            while running:
                action = policy.act({"state": state, "images": {"top": image}})
                if action is not None:  # None: hold
                    arm.write(action)
                sleep_until_next_tick()
    """

    def __init__(
        self,
        service: str,
        *,
        action_names: Sequence[str],
        state_names: Sequence[str],
        cameras: Mapping[str, tuple[int, int]],
        fps: float = 30.0,
        robot: str | None = None,
        task: str = "",
        control_mode: ControlMode | str = ControlMode.POSITION,
        limits: Limits | RobotSpec | None = None,
        broker: str | Sequence[str] | None = None,
        jpeg_quality: int = 0,
        max_uplink_kbps: float | None = None,
        plan: PlanSettings | None = None,
        safety: SafetySettings | None = None,
        audit: str | Path | None = None,
        key: str | Path | None = None,
        broker_key: str | Path | Sequence[str | Path] | None = None,
    ) -> None:
        """Names are the policy's; `cameras` are (width, height) of the images `act` will get.

        `fps` is how often `act` will be called. A loop that turns out slower or faster gets a
        warning, also in `stats`; `plan.trim` decides what it plays then. With `consumed`, the
        default, each call plays the plan's next action: a slow loop moves slowly, along the same
        path. With `time` each call plays the action for this instant: a slow loop leaves out
        actions whose time has passed, a fast one has each several times.

        `limits` are those of the robot's entry in fleet.yaml, `{"elbow": {"lower": -1, "upper": 1,
        "max_rate": 2}}` in the action's units (per second), or a RobotSpec that has them. An action
        outside is refused whole: `act` returns None, and `stats` has the count and the reason. A
        step is measured from the last action while they are played, and from the observed state
        after a pause, a reset or a break. Without limits only what is not finite is refused.

        `robot` names it at the broker, where the last to open a session under a name has it. By
        default it is the key's name, or one of this host and process alone; a robot that keeps its
        name over restarts of the script has its place back at once.

        `broker` is its front endpoint (`tcp://host:7447`); by default that of the fleet that runs
        on this machine. Of a list of them, where a site has several brokers, it uses the first that
        answers, and goes on by the next one when that is silent. `key` is the file of the robot's
        own key, or of a token (`.token`) beside which it makes and enrols one, and `broker_key`
        that of the broker's public one, or a list with one for each broker. `jpeg_quality` 0 sends
        raw pixels: right on one machine, use 90 across a network. With `max_uplink_kbps` requests
        take at most so many kbit/s of it, over 5 s: JPEG quality is lowered first, down to 30, then
        requests are made less often. `audit` is a directory that gets a line for each request, at
        most 4 MB of them.

        Raises TypeError or ValueError, which begin with the argument's name, for arguments that
        cannot work, FleetNotFoundError when no fleet runs here and no broker is named.
        """
        self._config = ScriptConfig.checked(
            service=service,
            action_names=action_names,
            state_names=state_names,
            cameras=cameras,
            fps=fps,
            robot=robot,
            task=task,
            control_mode=control_mode,
            limits=limits,
            broker=broker,
            jpeg_quality=jpeg_quality,
            max_uplink_kbps=max_uplink_kbps,
            plan=plan,
            safety=safety,
            audit=audit,
            key=key,
            broker_key=broker_key,
        )
        self._loop = ScriptLoop(self._config)
        self._pid = os.getpid()

    @property
    def state(self) -> str:
        """The fail-safe's state: CONNECTING, STREAMING, DEGRADED, STALLED, RECONNECTING, DEAD; or
        PAUSED, or STOPPED by an emergency stop."""
        return self._loop.report.state

    @property
    def reason(self) -> str:
        """Why the state is what it is: what is not reachable, not accepted or not answering, or who
        stopped it. Empty where there is nothing to explain."""
        return self._loop.report.reason

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the service warned of when it accepted this robot, and what the loop's pace gives
        cause to. Each is also logged, once."""
        return self.stats().warnings

    @property
    def plan_s(self) -> float:
        """How long the plan lasts, in seconds."""
        return self._loop.cycle.plan_ns / 1e9

    @property
    def latency_ms(self) -> dict[str, float | None]:
        """p50 and p99 of the time from asking to having a chunk."""
        return dict(self._loop.cycle.latency.summary_ms())

    def stats(self) -> Vitals:
        """The figures of this robot now, frozen: what `actorctl status` shows of it.

        `state`, `reason`, `plan_s`, `fps` (calls of `act` per second), `steps` (calls),
        `missed_steps` (whose time passed between two calls), `stalled_steps` (without an action,
        although chunks had come before), `refused` (actions outside of the limits), `refusing_s`
        and `refusing` (for how long every action was, and why), `dropped` (answers that did not
        become part of the plan, by reason), `latency_ms` (`p50` and `p99` from asking to having a
        chunk) and `warnings`.
        """
        return self._loop.report.stats()

    def wait(self, timeout_s: float = 10.0) -> None:
        """Wait until the service has accepted this robot: before the robot is enabled.

        Raises PolicyLostError when it refuses, NotReadyError when it was not accepted in time, with
        what is not reachable, not accepted or not answering.
        """
        limit_s = arguments.number("timeout_s", timeout_s, most=1e9)
        self._own()
        deadline_s = time.monotonic() + limit_s
        session, control = self._loop.cycle.session, self._config.control
        while not session.enabled or not session.open:
            self._loop.listen(time.monotonic_ns())
            if time.monotonic() > deadline_s:
                raise NotReadyError(
                    f"service {control.service!r} did not accept robot "
                    f"{control.robot!r} within {limit_s:g} s, through the broker at "
                    f"{' or '.join(self._config.brokers)}: {self._loop.report.cause}"
                )
            time.sleep(0.01)

    def act(self, observation: Mapping[str, Any]) -> NDArray[np.float32] | None:
        """The action for this control step, float32 [A], or None to hold. Never blocks.

        `observation`: `state` [S], finite numbers, `images` {name: uint8 [h, w, 3] RGB} for every
        camera, and `task` where it changes: a chunk of it is asked for at once and continues the
        plan. Raises TypeError or ValueError when it does not fit what was declared or the service
        does not do the task, and nothing has happened then: the next call goes on. Raises
        PolicyLostError when the policy must not be used any more.

        While an emergency stop of the site holds the robot the answer is None, or a velocity of 0,
        `state` is STOPPED and `reason` says by whom and why. It goes on by itself once an operator
        has lifted the stop, with a new plan from where the robot is then.
        """
        self._own()
        state = self._loop.declared.state(observation)
        images = self._loop.declared.images(observation)
        task = self._task(observation["task"]) if "task" in observation else None
        return self._loop.step(state, images, task, time.monotonic_ns())

    def pause(self) -> None:
        """Ask for no chunks and play nothing until `resume`: `act` returns None, and every deadline
        stands still. What the plan holds is kept, and grows old. Idempotent."""
        self._own()
        self._loop.pause(time.monotonic_ns())

    def resume(self) -> None:
        """Go on after `pause`. A break between two calls of `act` needs neither: time in which the
        script asks for no actions is no time offline."""
        self._own()
        self._loop.resume(time.monotonic_ns())

    def reset(self, task: str | None = None) -> None:
        """An episode begins, with another `task` if one is given: the plan of the one before is
        void."""
        self._own()
        self._loop.reset(None if task is None else self._task(task))

    def close(self) -> None:
        """End the session and the worker. Idempotent; does nothing in a forked child: they are
        the parent's."""
        if os.getpid() == self._pid:
            self._loop.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _task(self, given: object) -> str:
        """The task `given`; raises TypeError or ValueError for one that is none, or that the
        service does not do."""
        task = arguments.text("task", given)
        fault = self._loop.cycle.session.task_fault(task)
        if fault:
            raise ValueError(f"task: {fault}")
        return task

    def _own(self) -> None:
        """Raises RuntimeError where this object must not be used."""
        if os.getpid() != self._pid:
            raise RuntimeError(
                f"this RemotePolicy belongs to process {self._pid}, its sockets cannot be used in "
                "a forked child: make one there"
            )
        if self._loop.closed:
            raise RuntimeError("this RemotePolicy is closed: make another one")
