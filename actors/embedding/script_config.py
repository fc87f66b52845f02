"""`ScriptConfig`: the arguments of `RemotePolicy`, checked, and the configs that they make."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from ... import arguments
from ...errors import KeyFileError
from ...robot.base import ControlMode, RobotSpec
from ...transport import sockets
from ...transport.frame_ring import FrameRing
from ...transport.keys import Keyring, Role
from ..control.config import ControlConfig, PlanSettings, SafetySettings, faults
from ..runtime import robots_file
from ..runtime.configs import CameraFeed, NetworkConfig
from .discovery import front_of, only_fleet
from .identity import Identity, here, path
from .observation import Sizes, sizes
from .script_limits import limited

_AUDIT_BYTES = 4 << 20
HISTORY_STEPS = 64
"""For how many calls of `act` back the images are kept, for a policy that sees them. Their memory
is reserved, and used only then."""
RING_SLOTS = 4
_unnamed = itertools.count()
"""Robots of this process that were given no name."""
_Settings = TypeVar("_Settings", PlanSettings, SafetySettings)


@dataclass(frozen=True)
class ScriptConfig:
    """One robot of a script. `cameras` are (width, height), `brokers` their front endpoints.

    `stops` is where the fleet of this machine keeps those of the site; None: the script does. By
    the public keys in the directory `keyring` their lifts are checked; None: those count that the
    broker passes on.
    """

    control: ControlConfig
    robot: RobotSpec
    cameras: Sizes
    brokers: tuple[str, ...]
    jpeg_quality: int
    max_uplink_kbps: float | None
    audit: str | None
    identity: Identity
    stops: Path | None
    keyring: str | None

    @classmethod
    def checked(
        cls,
        *,
        service: object,
        action_names: object,
        state_names: object,
        cameras: object,
        fps: object,
        robot: object,
        task: object,
        control_mode: object,
        limits: object,
        broker: object,
        jpeg_quality: object,
        max_uplink_kbps: object,
        plan: object,
        safety: object,
        audit: object,
        key: object,
        broker_key: object,
    ) -> ScriptConfig:
        """Raises TypeError or ValueError that begins with the argument's name, FleetNotFoundError
        when no broker is named and none runs here."""
        brokers = (front_of(),) if broker is None else arguments.endpoints("broker", broker)
        identity = Identity.of(Role.ROBOT, key, broker_key, len(brokers))
        fleet = robots_file.read(only_fleet()) if broker is None else None
        named = None if robot is None else arguments.label("robot", robot)
        mode = ControlMode(arguments.choice("control_mode", control_mode, [*ControlMode]))
        usual = SafetySettings(fallback="zero" if mode is ControlMode.VELOCITY else "hold")
        control = ControlConfig(
            robot=identity.named("robot", named) or _unnamed_robot(),
            driver="script",
            service=arguments.label("service", service),
            endpoint="",
            plan="plan",
            fps=arguments.number("fps", fps, most=1000),
            task=arguments.text("task", task),
            plan_settings=_settings("plan", plan, PlanSettings()),
            safety=_settings("safety", safety, usual),
        )
        if wrong := faults(control, mode):
            raise ValueError("; ".join(map(str, wrong)))
        return cls(
            control=control,
            robot=limited(
                RobotSpec(
                    arguments.names("action_names", action_names, least=1),
                    arguments.names("state_names", state_names, least=1),
                    mode,
                ),
                limits,
            ),
            cameras=sizes("cameras", cameras),
            brokers=brokers,
            jpeg_quality=arguments.count("jpeg_quality", jpeg_quality, 0, 100),
            max_uplink_kbps=_limit(max_uplink_kbps, jpeg_quality),
            audit=path("audit", audit),
            identity=identity,
            stops=None if fleet is None else Path(fleet.state_dir),
            keyring=_keyring(identity) if fleet is None else fleet.keyring,
        )

    def loop(self, directory: Path) -> ControlConfig:
        """Of the loop, whose network actor listens in `directory`."""
        return msgspec.structs.replace(self.control, endpoint=sockets.ipc(directory, "network"))

    def stops_in(self, directory: Path) -> Path:
        """Where the stops of the site are, for a network actor that has `directory`."""
        return self.stops or directory / "stops"

    def network(self, directory: Path) -> dict[str, Any]:
        """The boot of the network actor that listens in `directory`."""
        feeds = {
            name: CameraFeed(segment=self.ring(name), width=width, height=height)
            for name, (width, height) in self.cameras.items()
        }
        config = NetworkConfig(
            robot=self.control.robot,
            service=self.control.service,
            control=sockets.ipc(directory, "network"),
            brokers=self.brokers,
            cameras=feeds,
            state_names=self.robot.state_names,
            action_names=self.robot.action_names,
            jpeg_quality=self.jpeg_quality,
            max_uplink_kbps=self.max_uplink_kbps,
            history_steps=HISTORY_STEPS,
            audit_bytes=_AUDIT_BYTES if self.audit else 0,
            evidence=self.audit,
            keyring=self.keyring,
            stops=str(self.stops_in(directory)),
            script=True,
            keys=self.identity.files(self.control.robot),
        )
        built: dict[str, Any] = msgspec.to_builtins(config)
        return built

    def ring(self, camera: str) -> str:
        """The segment of a camera's frames."""
        return f"{self.control.robot}/{camera}"

    @property
    def rings(self) -> Mapping[str, int]:
        """Sizes of all such segments."""
        return {
            self.ring(name): FrameRing.size_for((height, width, 3), RING_SLOTS + HISTORY_STEPS)
            for name, (width, height) in self.cameras.items()
        }


def _settings(argument: str, given: object, usual: _Settings) -> _Settings:
    """Settings of the type of `usual`, which stands in where none are given."""
    if given is None:
        return usual
    if not isinstance(given, type(usual)):
        raise TypeError(
            f"{argument}: {arguments.shown(given)}, expected {type(usual).__name__}(...)"
        )
    return given


def _keyring(identity: Identity) -> str | None:
    """The directory of its own key, where an operator's public key is beside that."""
    own = identity.key or identity.token
    if own is None:
        return None
    directory = Path(own).parent
    try:
        return str(directory) if Keyring.of(directory).has(Role.OPERATOR) else None
    except KeyFileError:
        return str(directory)  # each lift is refused, with this as the reason


def _limit(max_uplink_kbps: object, jpeg_quality: object) -> float | None:
    """The limit of the uplink, which raw images cannot keep."""
    if max_uplink_kbps is None:
        return None
    limit = arguments.number("max_uplink_kbps", max_uplink_kbps, most=1e6)
    if jpeg_quality == 0:
        raise ValueError(
            "max_uplink_kbps: images of jpeg_quality=0 are sent raw and cannot be made smaller: "
            "pass a jpeg_quality, e.g. 90"
        )
    return limit


def _unnamed_robot() -> str:
    """A unique name: two scripts of one name would take each other's session."""
    count = next(_unnamed)
    return here() if not count else f"{here()}-{count}"
