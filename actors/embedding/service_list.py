"""`services`: what the services of a running fleet want of a robot, before one connects."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

import msgspec

from ...errors import FleetNotFoundError
from ..fleet.schema import is_name
from ..runtime.runtime_dir import SOCKET
from ..supervision.control_socket import ask
from .discovery import only_fleet

_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")


class ServiceOffer(msgspec.Struct, frozen=True, kw_only=True):
    """One service.

    Attributes:
        name: what a robot names as its `service`.
        external: whether it is declared as one that scripts serve.
        replicas: how many serve it now; without any, nothing is known of its policy.
        sessions: the robots it has, of `capacity` that it takes.
        capacity: robots.
        load: the share of the time that its devices compute, 0 to 1.
        listed: whether what follows is known: there is a replica, and room for its names.
        model: the policy.
        revision: of its weights.
        checkpoint: the hash of its weights.
        cameras: (width, height) of each image that it sees.
        state_names: the entries of a state, in order.
        action_names: the columns of a chunk, in order.
        control_mode: whether actions are positions or velocities.
        chunk_size: the steps of a chunk.
        fps: steps per second.
        prefix: how a chunk continues the plan under way: none, guided or trained.
        max_prefix_steps: for how many steps it does.
        pin_task: the only task, if there is one.
        default_task: the task of a robot that names none.
        strict_fps: whether a robot of another rate is refused; else it is warned.
    """

    name: str
    external: bool = False
    replicas: int = 0
    sessions: int = 0
    capacity: int = 0
    load: float = 0.0
    listed: bool = False
    model: str = ""
    revision: str = ""
    checkpoint: str = ""
    cameras: dict[str, tuple[int, int]] = {}
    state_names: tuple[str, ...] = ()
    action_names: tuple[str, ...] = ()
    control_mode: str = ""
    chunk_size: int = 0
    fps: float = 0.0
    prefix: str = "none"
    max_prefix_steps: int = 0
    pin_task: str | None = None
    default_task: str = ""
    strict_fps: bool = False

    @property
    def task_rule(self) -> str:
        """Which task its robots do, in words."""
        if self.pin_task is not None:
            return f"always {self.pin_task!r}"
        if self.default_task:
            return f"the robot's, else {self.default_task!r}"
        return "the robot's"

    @property
    def robot_yaml(self) -> str:
        """What a robot for it looks like under `robots:` of a fleet.yaml; empty where it is not
        `listed`. Its driver and cameras are examples."""
        if not self.listed:
            return ""
        lines = [
            "- name: my-robot",
            f"  service: {_quoted(self.name)}",
            f"  # its actions, in order ({self.control_mode}): {', '.join(self.action_names)}",
            f"  # its state, in order: {', '.join(self.state_names) or 'none'}",
            "  driver: my_robot:Robot",
            f"  fps: {self.fps:g}",
        ]
        if self.pin_task is None:
            lines.append(f"  task: {json.dumps(self.default_task or 'what to do')}")
        renamed = {}
        if self.cameras:
            lines.append("  cameras:")
        for place, (feature, (width, height)) in enumerate(self.cameras.items()):
            camera = feature if is_name(feature) else f"camera{place}"
            if camera != feature:
                renamed[camera] = feature
            size = f"width: {max(640, width)}, height: {max(480, height)}"
            lines.append(
                f"    {_quoted(camera)}: {{driver: opencv, options: {{source: {place}}}, {size}}}"
                f"  # seen at {width} x {height}"
            )
        if renamed:
            pairs = ", ".join(f"{new}: {_quoted(feature)}" for new, feature in renamed.items())
            lines.append(f"  rename: {{{pairs}}}")
        return "\n".join(lines)


def services(fleet: str | None = None) -> list[ServiceOffer]:
    """The services of the fleet `fleet`, or of the only one that runs on this machine, by name:
    what each wants of a robot, as `actorctl services` prints it.

    Raises FleetNotFoundError when no such fleet runs here, or its broker is on another host, and
    ControlSocketError when it does not answer.
    """
    path = only_fleet(fleet)
    found = offers(ask(path / SOCKET, do="status")["status"])
    if found is None:
        raise FleetNotFoundError(
            f"the broker of {path.name!r} is not on this host, or has not reported yet: ask on its "
            "host, or again"
        )
    return found


def offers(status: Mapping[str, Any]) -> list[ServiceOffer] | None:
    """The services in a fleet's status: those that the broker knows, and those whose replicas are
    not ready. None without a broker's report. Pure."""
    report = next(
        (row["report"] for row in status["actors"] if row["kind"] == "broker" and row["report"]),
        None,
    )
    if report is None:
        return None
    known = {row["name"]: msgspec.convert(row, ServiceOffer) for row in report["services"]}
    own = {row["name"].partition("/")[0] for row in status["actors"] if row["kind"] == "inference"}
    missing = {name: ServiceOffer(name=name) for name in own - known.keys()}
    return [each for _, each in sorted({**known, **missing}.items())]


def _quoted(name: str) -> str:
    return name if _PLAIN.fullmatch(name) else json.dumps(name)
