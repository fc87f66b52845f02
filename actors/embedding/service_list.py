"""`services`: what the services of a running fleet want of a robot, before one connects."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

import msgspec

from ...errors import FleetNotFoundError
from ..fleet.entry_values import is_name
from ..runtime.runtime_dir import SOCKET
from ..supervision.broker_report import ServiceRow
from ..supervision.control_socket import ask
from .discovery import only_fleet

_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")


class ServiceOffer(ServiceRow, frozen=True, kw_only=True):
    """One service: what it says of itself, and what that means for a robot."""

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
        if self.observation_steps > 1:
            window_steps = (self.observation_steps - 1) * self.observation_stride_steps
            lines.append(f"  images: {{history_steps: {window_steps}}}")
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
