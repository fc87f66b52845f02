"""The configuration of a telemetry actor."""

from __future__ import annotations

import msgspec


class TelemetryConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the traces of one host go (`otlp`), and of whom they are: the audits in `evidence` of
    its `robots`, its `replicas` and, with `broker`, of its broker. `host` is the fleet file's name
    of this machine; None: its host name."""

    otlp: str
    fleet: str
    host: str | None = None
    evidence: str
    robots: tuple[str, ...] = ()
    replicas: tuple[str, ...] = ()
    broker: bool = False
