"""`Presentation`: one way to show a recorded sample to the service, and to read its chunk.

The deployed one is what a robot does. The others undo one mistake each, so that the one under which
the service meets the recorded actions names the mistake.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ...transport.images import Pixels
from .image_fit import Fit, fitted
from .recorded_samples import RecordedSample


@dataclass(frozen=True)
class Presentation:
    """`states` and `actions` are the dataset's column of each name of the service; `swapped` are
    cameras whose red and blue are exchanged, `fits` how those get their size that are not
    stretched. `mistake` says what was wrong if this one is right."""

    states: tuple[int, ...]
    actions: tuple[int, ...]
    swapped: frozenset[str] = frozenset()
    fits: Mapping[str, Fit] = field(default_factory=dict)
    subject: str = ""
    mistake: str = ""

    def state(self, sample: RecordedSample) -> NDArray[np.float32]:
        """[S], in the order that the service is given it."""
        return sample.state[list(self.states)]

    def images(
        self, sample: RecordedSample, sizes: Mapping[str, tuple[int, int]]
    ) -> dict[str, Pixels]:
        """By the service's cameras, at its sizes."""
        shown = {}
        for name, (width, height) in sizes.items():
            image = fitted(sample.images[name], width, height, self.fits.get(name, "stretch"))
            shown[name] = np.ascontiguousarray(image[:, :, ::-1]) if name in self.swapped else image
        return shown

    def recorded(self, sample: RecordedSample) -> NDArray[np.float32]:
        """The recorded actions [at most H, A], in the order of the chunk's columns."""
        return sample.actions[:, list(self.actions)]
