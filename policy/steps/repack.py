"""`Repack`: a dataset's keys to those of the robot's observations."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from .data_step import Data
from .key_paths import flattened, value_at

Structure = Mapping[str, Any]
"""New keys, each with the path of an old one, or with a structure of its own."""


@dataclass(frozen=True)
class Repack:
    """New data of the form of `structure`; what it does not name is dropped.

    Old keys that are in `optional` may be absent: a robot's observation has no actions. Source:
    openpi, `RepackTransform`.

    >>> Repack({"images": {"top": "observation.images.top"}, "state": "robot/state"})(
    ...     {"observation.images.top": "pixels", "robot": {"state": 1}, "index": 7}
    ... )
    {'images': {'top': 'pixels'}, 'state': 1}
    """

    structure: Structure
    optional: Collection[str] = ()

    def __call__(self, data: Data) -> Data:
        return self._packed(self.structure, data, flattened(data))

    def _packed(self, structure: Structure, data: Data, flat: Data) -> Data:
        made: Data = {}
        for new, old in structure.items():
            if isinstance(old, Mapping):
                made[new] = self._packed(old, data, flat)
            elif old in flat or old in data or old not in self.optional:
                made[new] = value_at(data, old, self)
        return made
