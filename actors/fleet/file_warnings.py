"""What a fleet file may mean, and what is rarely meant: warnings, which refuse nothing."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import suppress

from ...errors import Fault, PolicyError, RobotError
from ...robot.base import RobotSpec
from ..inference.service_terms import same_fps
from ..inference.session_warnings import without_effect
from .robot_entry import RobotEntry
from .schema import FleetFile
from .specs import described, limited, policy_spec


def warnings_of(fleet: FleetFile) -> list[Fault]:
    """The warnings of a `fleet` that has no faults, as faults with their places."""
    found: list[Fault] = []
    for i, robot in enumerate(fleet.robots):
        path = f"$.robots[{i}]"
        with suppress(RobotError):  # a driver of another host
            found += _limits(robot, path, described(fleet, robot).spec.spec())
        found += _against_policy(fleet, robot, path)
    return found


def _limits(robot: RobotEntry, path: str, spec: RobotSpec) -> Iterator[Fault]:
    """Actions that nothing limits, and limits that allow more than the driver's own."""
    allowed = limited(spec, robot.limits)
    if unlimited := allowed.unlimited:
        found = f"nothing limits {', '.join(unlimited)} of {robot.name}"
        remedy = "give each a range or a `max_rate` here"
        yield Fault(f"{path}.limits", found, remedy=remedy)
    # A driver that limits the rate of some actions leaves it out of the others on purpose.
    forgotten = spec.action_names if all(map(math.isinf, spec.max_rate)) else robot.limits
    rates = zip(allowed.action_names, allowed.max_rate, strict=True)
    unlimited_rate = [name for name, rate in rates if math.isinf(rate) and name in forgotten]
    if sudden := [name for name in unlimited_rate if name not in unlimited]:
        found = f"nothing limits the rate of {', '.join(sudden)} of {robot.name}: one command may "
        remedy = "give each a `max_rate` here"
        yield Fault(f"{path}.limits", f"{found}cross the whole range", remedy=remedy)
    own = zip(spec.action_names, spec.lower, spec.upper, spec.max_rate, strict=True)
    for action, lower, upper, max_rate in own:
        given = robot.limits.get(action)
        if given is None:
            continue
        for key, new, bound, wider in (
            ("lower", given.lower, lower, given.lower is not None and given.lower < lower),
            ("upper", given.upper, upper, given.upper is not None and given.upper > upper),
            (
                "max_rate",
                given.max_rate,
                max_rate,
                given.max_rate is not None and given.max_rate > max_rate,
            ),
        ):
            if wider and math.isfinite(bound):
                yield Fault(
                    f"{path}.limits.{action}.{key}",
                    f"{new:g} allows more than the driver's own {bound:g}, and is in its place",
                    remedy="remove it unless that is meant",
                )


def _against_policy(fleet: FleetFile, robot: RobotEntry, path: str) -> Iterator[Fault]:
    """Another rate than the policy's, and settings that it cannot follow."""
    service = fleet.services.get(robot.service)
    if service is None or service.external:
        return
    with suppress(PolicyError):  # a policy of another host
        policy = policy_spec(fleet, service)
        if not same_fps(robot.fps, policy.fps):
            yield Fault(
                f"{path}.fps",
                f"{robot.fps:g}, and the policy {policy.model} was trained at {policy.fps:g}: "
                f"motions will be {robot.fps / policy.fps:.2g} times as fast as demonstrated",
                remedy=f"use {policy.fps:g} unless that is meant",
            )
        vain, why = without_effect(policy, robot.plan.rtc.given)
        for name in vain:
            yield Fault(f"{path}.plan.rtc.{name}", f"no effect: {why}", remedy="remove it")
