"""What a fleet file says of the ports for clients of other projects."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from ..runtime.client_configs import GrootDialect, GrootMapping, ObservationMapping

Port = Annotated[int, Meta(ge=1, le=65535, description="a TCP port, 1 to 65535")]


class OpenpiEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A WebSocket port for unmodified clients of openpi, each with a session with one service.

    `mapping` says which keys of their observations hold the policy's cameras, state and
    instruction, where the names do not; or it names whose clients they are. `metadata` is sent to
    them first, beside what the service says of itself; with `dialect: roboarena` that is
    RoboArena's `PolicyServerConfig`.
    """

    port: Port
    service: Annotated[str, Meta(description="a name under `services`")]
    host: Annotated[str, Meta(description="the address to listen on")] = "127.0.0.1"
    api_key: Annotated[
        str | None,
        Meta(description="a file with the key that clients must have, relative to this file"),
    ] = None
    dialect: Literal["openpi", "roboarena"] = "openpi"
    mapping: Annotated[
        ObservationMapping | str,
        Meta(
            description="keys, or the kind of robot: aloha, droid, libero, or module:name beside "
            "this file"
        ),
    ] = ObservationMapping()
    metadata: dict[str, Any] = {}


class GrootEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A port of GR00T's ZeroMQ protocol for its unmodified clients, each with a session with one
    service.

    `mapping` says what they call the policy's cameras and the parts of its state and actions, where
    those are not the usual keys. `dialect: n1.5` is for clients of N1.5 that ask for the modality
    config, which they parse differently.
    """

    port: Port
    service: Annotated[str, Meta(description="a name under `services`")]
    host: Annotated[str, Meta(description="the address to listen on")] = "127.0.0.1"
    api_token: Annotated[
        str | None,
        Meta(description="a file with the token that requests must have, relative to this file"),
    ] = None
    dialect: GrootDialect = "n1.6"
    mapping: GrootMapping = GrootMapping()
