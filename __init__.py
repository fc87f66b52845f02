"""Holdfast: robots ride chunk buffers while GPU processes infer.

The embedding API, imported when it is used, so that `import holdfast` costs nothing and a robot's
computer never needs torch:

- `Fleet`: a whole fleet.yaml inside a `with` block.
- `RemotePolicy`: a served policy in a script's own control loop; `act` never blocks.
- `serve`: a policy object of this program as a replica of a service.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .actors.embedding.fleet import Fleet as Fleet
    from .actors.embedding.fleet import FleetFailed as FleetFailed
    from .actors.embedding.remote import PolicyLost as PolicyLost
    from .actors.embedding.remote import RemotePolicy as RemotePolicy
    from .actors.embedding.serving import serve as serve
    from .policy.base import Chunk as Chunk
    from .policy.base import Observation as Observation
    from .policy.base import PolicySpec as PolicySpec

_PLACES = {
    "Fleet": ".actors.embedding.fleet",
    "FleetFailed": ".actors.embedding.fleet",
    "PolicyLost": ".actors.embedding.remote",
    "RemotePolicy": ".actors.embedding.remote",
    "serve": ".actors.embedding.serving",
    "Chunk": ".policy.base",
    "Observation": ".policy.base",
    "PolicySpec": ".policy.base",
}
__all__ = [
    "Chunk",
    "Fleet",
    "FleetFailed",
    "Observation",
    "PolicyLost",
    "PolicySpec",
    "RemotePolicy",
    "serve",
]


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module 'holdfast' has no {name!r}; it has {', '.join(_PLACES)}")
    return getattr(import_module(_PLACES[name], __name__), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_PLACES})
