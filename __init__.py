"""Holdfast: robots play chunks from their own buffers while GPU processes infer.

The embedding API, imported when it is used, so that `import holdfast` costs nothing and a robot's
computer never needs torch:

- `Fleet`: a whole fleet.yaml inside a `with` block.
- `RemotePolicy`: a served policy in a script's own control loop; `act` never blocks.
- `serve`: a policy object of this program as a replica of a service.
- `services`: what each service of a running fleet wants of a robot.
- `emergency_stop` and `release_emergency_stop`: what `actorctl estop` does, from a program.

Beside them what they take, give and raise: the settings, the whole tree of `errors.py`, the
contracts of policies, robots and cameras, and `Actor`, the base of a process of one's own.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .actors.control.config import PlanSettings as PlanSettings
    from .actors.control.config import SafetySettings as SafetySettings
    from .actors.control.config import TimingSettings as TimingSettings
    from .actors.control.rtc_settings import RtcSettings as RtcSettings
    from .actors.driver.stop_outcome import StopOutcome as StopOutcome
    from .actors.embedding.embedded_fleet import Fleet as Fleet
    from .actors.embedding.given import StopEvent as StopEvent
    from .actors.embedding.remote_policy import RemotePolicy as RemotePolicy
    from .actors.embedding.service_list import ServiceOffer as ServiceOffer
    from .actors.embedding.service_list import services as services
    from .actors.embedding.serving import serve as serve
    from .actors.embedding.stopping import emergency_stop as emergency_stop
    from .actors.embedding.stopping import release_emergency_stop as release_emergency_stop
    from .actors.inference.given_policy import Predict as Predict
    from .actors.runtime.actor import Actor as Actor
    from .actors.runtime.actor import Boot as Boot
    from .actors.runtime.link_messages import Command as Command
    from .actors.runtime.supervisor_link import Link as Link
    from .errors import BrokerUnreachableError as BrokerUnreachableError
    from .errors import CaptureError as CaptureError
    from .errors import ControlSocketError as ControlSocketError
    from .errors import DatasetError as DatasetError
    from .errors import DeadError as DeadError
    from .errors import DeviceLostError as DeviceLostError
    from .errors import EvaluationError as EvaluationError
    from .errors import EvaluationStoppedError as EvaluationStoppedError
    from .errors import Fault as Fault
    from .errors import FleetError as FleetError
    from .errors import FleetFailedError as FleetFailedError
    from .errors import FleetNotFoundError as FleetNotFoundError
    from .errors import FrameError as FrameError
    from .errors import HeadroomError as HeadroomError
    from .errors import HoldfastError as HoldfastError
    from .errors import HubUnreachableError as HubUnreachableError
    from .errors import KeyFileError as KeyFileError
    from .errors import LayoutError as LayoutError
    from .errors import NotReadyError as NotReadyError
    from .errors import OutboxError as OutboxError
    from .errors import PlanError as PlanError
    from .errors import PolicyBrokenError as PolicyBrokenError
    from .errors import PolicyError as PolicyError
    from .errors import PolicyLostError as PolicyLostError
    from .errors import RecordingEndedError as RecordingEndedError
    from .errors import RefusedError as RefusedError
    from .errors import RequestDeclinedError as RequestDeclinedError
    from .errors import RobotError as RobotError
    from .errors import RuntimeDirError as RuntimeDirError
    from .errors import SegmentError as SegmentError
    from .errors import SeqlockError as SeqlockError
    from .errors import ServingFailedError as ServingFailedError
    from .errors import StaleFrameError as StaleFrameError
    from .errors import StepError as StepError
    from .errors import SupervisorUnreachableError as SupervisorUnreachableError
    from .errors import UnfitPolicyError as UnfitPolicyError
    from .errors import UnsatisfiableError as UnsatisfiableError
    from .errors import WireError as WireError
    from .errors import WrongOutputError as WrongOutputError
    from .policy.base import CameraFeature as CameraFeature
    from .policy.base import Chunk as Chunk
    from .policy.base import ChunkPolicy as ChunkPolicy
    from .policy.base import Observation as Observation
    from .policy.base import PolicySpec as PolicySpec
    from .robot.base import ControlMode as ControlMode
    from .robot.base import Episode as Episode
    from .robot.base import Options as Options
    from .robot.base import Robot as Robot
    from .robot.base import RobotSpec as RobotSpec
    from .robot.cameras.base import Camera as Camera
    from .robot.cameras.base import Stamp as Stamp
    from .robot.teleoperator import Teleoperator as Teleoperator
    from .transport.bodies import Vitals as Vitals
    from .transport.frame_reference import FrameReference as FrameReference
    from .transport.frames import Frame as Frame
    from .transport.frames import FrameReader as FrameReader

_NAMES = {
    ".actors.control.config": ("PlanSettings", "SafetySettings", "TimingSettings"),
    ".actors.control.rtc_settings": ("RtcSettings",),
    ".actors.driver.stop_outcome": ("StopOutcome",),
    ".actors.embedding.embedded_fleet": ("Fleet",),
    ".actors.embedding.given": ("StopEvent",),
    ".actors.embedding.remote_policy": ("RemotePolicy",),
    ".actors.embedding.service_list": ("ServiceOffer", "services"),
    ".actors.embedding.serving": ("serve",),
    ".actors.inference.given_policy": ("Predict",),
    ".actors.embedding.stopping": ("emergency_stop", "release_emergency_stop"),
    ".actors.runtime.actor": ("Actor", "Boot"),
    ".actors.runtime.link_messages": ("Command",),
    ".actors.runtime.supervisor_link": ("Link",),
    ".errors": (
        "BrokerUnreachableError",
        "CaptureError",
        "ControlSocketError",
        "DatasetError",
        "DeadError",
        "DeviceLostError",
        "EvaluationError",
        "EvaluationStoppedError",
        "Fault",
        "FleetError",
        "FleetFailedError",
        "FleetNotFoundError",
        "FrameError",
        "HeadroomError",
        "HoldfastError",
        "HubUnreachableError",
        "KeyFileError",
        "LayoutError",
        "NotReadyError",
        "OutboxError",
        "PlanError",
        "PolicyBrokenError",
        "PolicyError",
        "PolicyLostError",
        "RecordingEndedError",
        "RefusedError",
        "RequestDeclinedError",
        "RobotError",
        "RuntimeDirError",
        "SegmentError",
        "SeqlockError",
        "ServingFailedError",
        "StaleFrameError",
        "StepError",
        "SupervisorUnreachableError",
        "UnfitPolicyError",
        "UnsatisfiableError",
        "WireError",
        "WrongOutputError",
    ),
    ".policy.base": ("CameraFeature", "Chunk", "ChunkPolicy", "Observation", "PolicySpec"),
    ".robot.base": ("ControlMode", "Episode", "Options", "Robot", "RobotSpec"),
    ".robot.cameras.base": ("Camera", "Stamp"),
    ".robot.teleoperator": ("Teleoperator",),
    ".transport.frame_reference": ("FrameReference",),
    ".transport.frames": ("Frame", "FrameReader"),
    ".transport.bodies": ("Vitals",),
}
_PLACES = {name: module for module, names in _NAMES.items() for name in names}
__all__ = sorted(_PLACES)  # noqa: PLE0605 it is a list


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module 'holdfast' has no {name!r}; it has {', '.join(__all__)}")
    return getattr(import_module(_PLACES[name], __name__), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_PLACES})
