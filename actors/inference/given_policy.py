"""`GivenPolicy`: a policy that a user's own code made, as replicas know policies."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ...policy.base import Chunk, Observation, PolicySpec

Predict = Callable[[Sequence[Observation]], list[Chunk]]
"""A function from a batch of observations to one chunk for each, in their order."""


class GivenPolicy:
    """What the user's code made, with the name of its weights."""

    def __init__(self, given: Any, spec: PolicySpec, checkpoint_hash: str) -> None:
        self.spec, self.checkpoint_hash = spec, checkpoint_hash
        self.predict_chunk: Predict = getattr(given, "predict_chunk", given)
        self.reset: Callable[[], object] | None = getattr(given, "reset", None)
        self._given = given

    # Asked for each time: what runs how is known after the warm-up alone.
    @property
    def execution(self) -> str:
        """How it runs, for the status; empty where it does not say."""
        return str(getattr(self._given, "execution", ""))

    @property
    def preparation(self) -> str:
        """What its first batches do beside predicting, likewise."""
        return str(getattr(self._given, "preparation", ""))
