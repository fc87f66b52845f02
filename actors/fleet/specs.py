"""What a service's policy and a robot's driver say about themselves, without running either."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace

from ...errors import PolicyError, RobotError
from ...policy.base import PolicySpec
from ...policy.checkpoint import read_spec
from ...policy.policy_options import options_of
from ...robot.base import RobotSpec
from ..driver.describe import Asked, Description, describe
from ..inference.describe_policy import AskedPolicy
from ..inference.describe_policy import describe as describe_policy
from ..inference.user_policy import is_own, keywords
from .hosts import is_here
from .places import Place, described_at, places
from .robot_entry import LimitEntry, RobotEntry
from .schema import FleetFile
from .service_entry import ServiceEntry


def policy_spec(fleet: FleetFile, service: ServiceEntry, place: Place | None = None) -> PolicySpec:
    """What the policy of a service that the fleet runs wants and gives; one of the user's own is
    asked as it is at `place`. Raises PolicyError."""
    if is_own(service.policy):
        place = place or described_at(fleet, service)
        given = keywords(
            service.all_options,
            service.checkpoint,
            place.device,
            service.dtype,
            service.revision,
        )
        asked = AskedPolicy(service.policy, given, fleet.import_path)
        return describe_policy(asked, place.python)
    if service.checkpoint is None:
        raise PolicyError(f"a policy of kind {service.policy} needs a checkpoint")
    spec = read_spec(service.checkpoint)
    try:
        return options_of(service.policy, service.options).applied(spec)
    except (KeyError, PolicyError):  # faults of their own, of the kind and of its options
        return spec


def described(fleet: FleetFile, robot: RobotEntry) -> Description:
    """What the robot's driver says about it. Raises RobotError where it cannot be asked."""
    python = None if robot.in_process else robot.python
    return describe(Asked(robot.driver, robot.options, fleet.import_path), python)


def robot_spec(fleet: FleetFile, robot: RobotEntry) -> RobotSpec:
    """What its driver says about the robot, with the limits of its entry. Raises RobotError, and
    ValueError for limits that contradict each other."""
    return limited(described(fleet, robot).spec.spec(), robot.limits)


def limited(spec: RobotSpec, limits: Mapping[str, LimitEntry]) -> RobotSpec:
    """`spec` with the `limits` of those actions that it has. Raises ValueError."""

    def column(name: str, own: tuple[float, ...]) -> tuple[float, ...]:
        given = (getattr(limits.get(action), name, None) for action in spec.action_names)
        return tuple(value if new is None else new for new, value in zip(given, own, strict=True))

    return replace(
        spec,
        lower=column("lower", spec.lower),
        upper=column("upper", spec.upper),
        max_rate=column("max_rate", spec.max_rate),
    )


def ask_all(fleet: FleetFile) -> None:
    """Ask the drivers and policies of this machine at the same time: what they said is kept."""

    def ask(entry: RobotEntry | ServiceEntry) -> None:
        # An error is said again, and reported, when the entry is checked.
        with suppress(RobotError, PolicyError):
            if isinstance(entry, RobotEntry):
                described(fleet, entry)
            elif is_own(entry.policy):
                policy_spec(fleet, entry)

    here: list[RobotEntry | ServiceEntry] = [
        service
        for service in fleet.services.values()
        if any(is_here(fleet, place.host) for place in places(service))
    ]
    here += [robot for robot in fleet.robots if is_here(fleet, robot.host)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(ask, here))
