"""The configuration of the actors that serve clients of other projects: frozen, and complete.

As in `configs`, the supervisor derives it from fleet.yaml and checks it there.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from .key_files import KeyFiles


class ObservationMapping(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which keys of a client's observation hold what: a key for each camera of the policy, one or
    several in order for the state, one for the instruction. Maps within the observation contribute
    `outer/inner`. What is left away is found by its name. With `pad`, images are scaled to fit and
    centred on black, as openpi's own servers do; else they are stretched."""

    cameras: dict[str, str] = {}
    state: str | tuple[str, ...] | None = None
    prompt: str | None = None
    pad: bool = False


class OpenpiConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Clients of openpi at a WebSocket port, each with a session of its own with `service`.

    `spec` is the `PolicySpec` of the service's policy, `metadata` what clients are sent first,
    beside what the service says of itself. `api_key` is a file.
    """

    service: str
    broker: str
    spec: dict[str, Any]
    port: int
    host: str = "127.0.0.1"
    api_key: str | None = None
    mapping: ObservationMapping = ObservationMapping()
    metadata: dict[str, Any] = {}
    roboarena: bool = False
    """Whether the metadata are RoboArena's `PolicyServerConfig`."""
    keys: KeyFiles = KeyFiles()
    stops: str | None = None
    """The directory of the site's emergency stops, which clients are refused chunks by; None: by
    none."""
    keyring: str | None = None
    """The directory of public keys of a fleet that has them: by these a stop's lift counts."""


GrootDialect = Literal["n1.5", "n1.6"]
"""The versions of GR00T whose clients parse the modality config differently: `n1.6` is also N1.7's,
and that of later ones."""


class GrootMapping(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What GR00T's clients call the parts of an observation and of an action: the key of each
    camera of the policy (`video.front`), the keys of the state (`state.left_arm`) and of the action
    (`action.left_arm`) with the policy's names in each, and the key of the instruction. What is
    left away has the usual keys. The prefix before the point may be left away."""

    cameras: dict[str, str] = {}
    state: dict[str, tuple[str, ...]] | None = None
    action: dict[str, tuple[str, ...]] | None = None
    language: str | None = None


class GrootConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Clients of GR00T at a port of its ZeroMQ protocol, each with a session of its own with
    `service`.

    `spec` is the `PolicySpec` of the service's policy. `api_token` is a file. `dialect` is that of
    the modality config.
    """

    service: str
    broker: str
    spec: dict[str, Any]
    port: int
    host: str = "127.0.0.1"
    api_token: str | None = None
    dialect: GrootDialect = "n1.6"
    mapping: GrootMapping = GrootMapping()
    keys: KeyFiles = KeyFiles()
    stops: str | None = None
    """The directory of the site's emergency stops, which clients are refused chunks by; None: by
    none."""
    keyring: str | None = None
    """The directory of public keys of a fleet that has them: by these a stop's lift counts."""
