"""The warnings of an accepted handshake: what may work badly between a robot and a policy. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable

from ...policy.base import PolicySpec
from ...transport.bodies import Open
from .service_terms import Occupancy, Terms, listed, same_fps

ASPECT_TOLERANCE = 0.02


def warnings_of(robot: Open, terms: Terms, occupancy: Occupancy) -> list[str]:
    """Everything that may degrade the robot's motion, with figures and what to do."""
    spec, warnings = terms.spec, []
    for camera in spec.cameras:
        width, height = robot.cameras[camera.name]
        stretch = (width / height) / (camera.width / camera.height)
        if abs(math.log(stretch)) > ASPECT_TOLERANCE:
            warnings.append(
                f"camera '{camera.name}' is {width}x{height}, the policy sees "
                f"{camera.width}x{camera.height}: its image will be stretched; crop it at the robot"
            )
    if spec.by_count:
        warnings.append(
            f"policy {spec.model} names no motors: its {len(spec.action_names)} actions are taken "
            f"to be {listed(robot.action_names)}, its {len(spec.state_names)} state values "
            f"{listed(robot.state_names)}, and the order was not checked; give the service "
            "`options: {action_names: [...], state_names: [...]}`"
        )
    elif robot.state_names != spec.state_names:
        warnings.append(
            f"state values are named {listed(robot.state_names)}, the policy was trained with "
            f"{listed(spec.state_names)}: make sure that they mean the same in this order"
        )
    if not same_fps(robot.fps, spec.fps):
        warnings.append(
            f"the robot runs at {robot.fps:g} Hz, the policy was trained at {spec.fps:g} Hz: "
            f"motions will be {robot.fps / spec.fps:.2g} times as fast as demonstrated"
        )
    warnings += _unseen_task(robot, terms)
    if robot.rtc and spec.prefix == "none":
        warnings.append(
            f"policy {spec.model} cannot continue a plan: the motion may jump where a chunk begins "
            "(harmless where it looks smooth; a PolicySpec with a `prefix` avoids it)"
        )
    warnings += _continuation(robot, spec)
    if occupancy.sessions >= occupancy.capacity:
        warnings.append(
            f"when this robot connected, the replica had {occupancy.sessions + 1} robots and, by "
            f"the service times measured until then, carried {occupancy.capacity} (one inference "
            f"took {_s(occupancy.inference_s)}, each robot asked {occupancy.rate_hz:.2g} times a "
            "second): chunks may come late; start another replica"
        )
    warnings += _too_old(robot, spec, occupancy.inference_s)
    warnings += _too_slow(robot, terms, occupancy.inference_s)
    return warnings


def without_effect(spec: PolicySpec, given: Iterable[str]) -> tuple[list[str], str]:
    """Those of the `given` names of a robot's `plan.rtc` that the policy cannot follow, and why."""
    if spec.prefix == "none":
        return list(given), f"policy {spec.model} cannot continue a plan"
    if spec.prefix == "trained":
        why = f"policy {spec.model} continues a plan as it was trained to, not by guidance"
        return [name for name in given if name != "execution_horizon"], why
    return [], ""


def _unseen_task(robot: Open, terms: Terms) -> list[str]:
    """The warning of a task, the robot's or the service's, on which a policy of a single task was
    not trained."""
    only, pinned, default = terms.spec.only_task, terms.pin_task, terms.default_task
    asked = (robot.task or default, *robot.tasks) if pinned is None else (pinned,)
    others = [task for task in asked if task and task != only]
    if not only or not others:
        return []
    mend = "give the robot that task or none, or the service"
    if pinned is None and not robot.task and default not in ("", only):
        mend = "remove the service's `default_task`, or give it"
    warning = (
        f"the task is {others[0]!r}, policy {terms.spec.model} was trained on {only!r} alone: it "
        f"reads words that it has not seen; {mend} `pin_task: {only}`"
    )
    return [warning]


def _continuation(robot: Open, spec: PolicySpec) -> list[str]:
    """The settings of how a plan is continued that have no effect, or less than they say."""
    given = {
        "execution_horizon": robot.execution_horizon,
        "schedule": robot.guidance_schedule,
        "clip": robot.guidance_clip,
    }
    vain, why = without_effect(spec, [name for name, value in given.items() if value is not None])
    warnings = []
    if vain:
        warnings.append(
            f"plan.rtc: {', '.join(vain)} {'have' if vain[1:] else 'has'} no effect: {why}; remove "
            f"{'them' if vain[1:] else 'it'}"
        )
    horizon = robot.execution_horizon or 0
    if spec.prefix != "none" and horizon > spec.execution_horizon:
        warnings.append(
            f"plan.rtc: an execution_horizon of {horizon} steps counts as {spec.execution_horizon}:"
            f" for no more does policy {spec.model} continue a plan"
        )
    return warnings


def _too_old(robot: Open, spec: PolicySpec, inference_s: float) -> list[str]:
    """Whether the end of a chunk is too old when it is played."""
    chunk_s, age_s = spec.chunk_size / robot.fps, robot.max_action_age_s
    if not age_s or chunk_s <= age_s:
        return []
    asks_s = chunk_s - robot.buffer_time_s
    stalls = (
        f"it asks for the next one after {_s(asks_s)}, so that it stalls within each chunk"
        if age_s < asks_s + inference_s
        else "it stalls whenever the next one is late"
    )
    warning = (
        f"a chunk of {spec.chunk_size} actions lasts {_s(chunk_s)} at {robot.fps:g} Hz, and the "
        f"robot plays none that is older than its max_action_age_s of {_s(age_s)}: the last "
        f"{_s(chunk_s - age_s)} of each are never played, and {stalls}; raise max_action_age_s, or "
        "serve shorter chunks"
    )
    return [warning]


def _too_slow(robot: Open, terms: Terms, inference_s: float) -> list[str]:
    """Whether an inference takes longer than the robot's plan or timeout; the worst consequence."""
    spec = terms.spec
    chunk_s, horizon_s = spec.chunk_size / robot.fps, spec.execution_horizon / robot.fps
    takes = f"one inference takes {_s(inference_s)} here"
    if inference_s >= terms.request_timeout_s:
        what = f"and robots wait {_s(terms.request_timeout_s)} for an answer (request_timeout_s)"
        return [f"{takes}, {what}: no chunk will ever arrive; serve on a faster device"]
    if robot.max_action_age_s and inference_s >= robot.max_action_age_s:
        what = f"and the robot plays nothing older than {_s(robot.max_action_age_s)}"
        return [f"{takes}, {what} (max_action_age_s): no action will ever be played; raise it"]
    if inference_s >= chunk_s:
        what = f"and a chunk lasts {_s(chunk_s)} at {robot.fps:g} Hz"
        return [f"{takes}, {what}: each is over before it arrives; serve longer chunks"]
    lasts_s = min(chunk_s, robot.max_action_age_s or chunk_s)
    if 2 * inference_s > lasts_s:
        # The robot asks for the next chunk when this one arrives, as old as the inference took, or
        # later, when its buffer time is left.
        what = f"and a chunk can be played for {_s(lasts_s)} after its observation"
        asks_s = max(inference_s, chunk_s - (robot.buffer_time_s or chunk_s))
        stall_s = min(asks_s, lasts_s) + inference_s - lasts_s
        return [f"{takes}, {what}: the robot stalls for {_s(stall_s)} in each; serve longer chunks"]
    if robot.buffer_time_s and inference_s >= robot.buffer_time_s:
        stall_s = inference_s - robot.buffer_time_s
        what = f"and the robot asks with {_s(robot.buffer_time_s)} of playback left"
        mend = f"set its plan.buffer_time_s above {_s(inference_s)}"
        return [f"{takes}, {what}: it stalls for {_s(stall_s)} before each chunk; {mend}"]
    if robot.rtc and spec.prefix != "none" and inference_s >= horizon_s:
        what = f"and policy {spec.model} continues a plan for {spec.execution_horizon} steps"
        return [f"{takes}, {what}, {_s(horizon_s)}: its chunks begin where none was continued"]
    return []


def _s(seconds: float) -> str:
    """A duration with three digits, in milliseconds below 0.1 s."""
    return f"{seconds * 1e3:.3g} ms" if seconds < 0.0995 else f"{seconds:.3g} s"
