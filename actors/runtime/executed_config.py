"""Configuration of the executed-log actor. Imports nothing heavy."""

from __future__ import annotations

import msgspec


class ExecutedConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The executed steps of one robot without a service; the fields are those of NetworkConfig."""

    robot: str
    state_names: tuple[str, ...]
    action_names: tuple[str, ...]
    plan: str
    fps: float
    executed_bytes: int
    evidence: str | None = None
