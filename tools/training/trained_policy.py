"""`trained_policy`: a checkpoint of `holdfast-train`, of any kind, as a service has it."""

from __future__ import annotations

import os
from typing import Any

from ...policy.base import ChunkPolicy
from ...policy.kinds import load_policy
from ...policy.pi0.pi_policy import Pi0Policy, Pi05Policy

_PI = {"pi0": Pi0Policy, "pi05": Pi05Policy}


def trained_policy(
    kind: str, checkpoint: str | os.PathLike[str], device: str = "cpu", **options: Any
) -> ChunkPolicy:
    """The policy of `checkpoint` with the `options` of its kind. Raises PolicyError."""
    if kind in _PI:
        return _PI[kind](str(checkpoint), device=device, **options)
    return load_policy(kind, checkpoint, device, **options)
