"""`CheckedPolicy`: the policy of the work, as a class of a user's, for our own replica."""

from __future__ import annotations

from collections.abc import Sequence

from ....policy.base import Chunk, Observation
from ..request_path import spec_of
from . import work


class CheckedPolicy:
    """Three cameras of 640 by 480, 14 joints."""

    def __init__(self) -> None:
        self.spec = spec_of(work.WIDTH, work.HEIGHT)

    def predict_chunk(self, batch: Sequence[Observation]) -> list[Chunk]:
        """A chunk for each, the same in both spaces."""
        return [self._chunk(seen) for seen in batch]

    def _chunk(self, seen: Observation) -> Chunk:
        corners = {name: work.corner(image) for name, image in seen.images.items()}
        values = work.actions(seen.state, corners)
        return Chunk(values, values)
