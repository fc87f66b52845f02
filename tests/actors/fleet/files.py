"""What a fleet file as plain values gives: its faults, or its actors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from holdfast.actors.fleet.expand import expand
from holdfast.actors.fleet.hosts import here
from holdfast.actors.fleet.loading import loads
from holdfast.actors.runtime.spec import ActorSpec
from holdfast.errors import FleetError


def faults(values: dict[str, Any]) -> list[str]:
    """The sentences of all faults of the file with these values, which has some."""
    with pytest.raises(FleetError) as caught:
        loads(yaml.safe_dump(values))
    return [str(fault) for fault in caught.value.faults]


def actors(values: dict[str, Any], host: str | None = None) -> list[ActorSpec]:
    """The actors of one host of the file with these values, in start order."""
    fleet = loads(yaml.safe_dump(values))
    return expand(fleet, here(fleet, host), Path("/run/x"))
