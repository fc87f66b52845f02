"""What `telemetry` in fleet.yaml needs of a machine."""

from __future__ import annotations

from collections.abc import Iterator

from ...errors import Fault
from ..telemetry import otlp_export
from .schema import FleetFile


def faults(fleet: FleetFile) -> Iterator[Fault]:
    """That traces cannot be sent from here."""
    if fleet.telemetry is not None and not otlp_export.is_installed():
        yield Fault("$.telemetry", otlp_export.MISSING, remedy=f"`{otlp_export.REMEDY}`")
