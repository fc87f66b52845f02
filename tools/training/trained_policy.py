"""`trained_policy`: a checkpoint of `holdfast-train`, of any kind, as a service has it."""

from __future__ import annotations

import os
from typing import Any

from ...actors.inference.policy_loading import loaded
from ...policy.base import ChunkPolicy


def trained_policy(
    kind: str, checkpoint: str | os.PathLike[str], device: str = "cpu", **options: Any
) -> ChunkPolicy:
    """The policy of `checkpoint` with the `options` of its kind. Raises PolicyError."""
    return loaded(kind, str(checkpoint), device, "float32", options, import_path=None)
