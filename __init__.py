"""Holdfast: robots ride chunk buffers while GPU processes infer.

The embedding API, imported when it is used, so that `import holdfast` costs nothing and a robot's
computer never needs torch:

- `Fleet`: a whole fleet.yaml inside a `with` block.
- `RemotePolicy`: a served policy in a script's own control loop; `act` never blocks.
- `serve`: a policy object of this program as a replica of a service.

Beside them the settings that they take and the errors that they raise.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .actors.control.config import PlanSettings as PlanSettings
    from .actors.control.config import SafetySettings as SafetySettings
    from .actors.embedding.embedded_fleet import Fleet as Fleet
    from .actors.embedding.remote_policy import RemotePolicy as RemotePolicy
    from .actors.embedding.serving import serve as serve
    from .errors import FleetError as FleetError
    from .errors import FleetFailedError as FleetFailedError
    from .errors import PolicyLostError as PolicyLostError
    from .errors import ServingFailedError as ServingFailedError
    from .policy.base import CameraFeature as CameraFeature
    from .policy.base import Chunk as Chunk
    from .policy.base import ChunkPolicy as ChunkPolicy
    from .policy.base import Observation as Observation
    from .policy.base import PolicySpec as PolicySpec
    from .transport.messages import Vitals as Vitals

_PLACES = {
    "CameraFeature": ".policy.base",
    "Chunk": ".policy.base",
    "ChunkPolicy": ".policy.base",
    "Fleet": ".actors.embedding.embedded_fleet",
    "FleetError": ".errors",
    "FleetFailedError": ".errors",
    "Observation": ".policy.base",
    "PlanSettings": ".actors.control.config",
    "PolicyLostError": ".errors",
    "PolicySpec": ".policy.base",
    "RemotePolicy": ".actors.embedding.remote_policy",
    "SafetySettings": ".actors.control.config",
    "ServingFailedError": ".errors",
    "Vitals": ".transport.messages",
    "serve": ".actors.embedding.serving",
}
__all__ = [
    "CameraFeature",
    "Chunk",
    "ChunkPolicy",
    "Fleet",
    "FleetError",
    "FleetFailedError",
    "Observation",
    "PlanSettings",
    "PolicyLostError",
    "PolicySpec",
    "RemotePolicy",
    "SafetySettings",
    "ServingFailedError",
    "Vitals",
    "serve",
]


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module 'holdfast' has no {name!r}; it has {', '.join(_PLACES)}")
    return getattr(import_module(_PLACES[name], __name__), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_PLACES})
