"""`Recording`: a LeRobotDataset as the training of a config sees it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple, Self

import msgspec

from ...policy.base import CameraFeature, PolicySpec
from ...robot.dataset.dataset_reader import Dataset
from .episode_windows import EpisodeWindows, load_windows, spec_of
from .pi_config import PiConfig
from .pi_recordings import pi_spec_of
from .training_config import RecordedConfig


class Recording(NamedTuple):
    """The contract of the policy that is trained on `dataset`, and the dataset's name of each of
    its cameras."""

    dataset: Dataset
    spec: PolicySpec
    theirs: tuple[str, ...]

    @classmethod
    def of(cls, dataset: Dataset, config: RecordedConfig) -> Self:
        """For the config's kind of policy. Raises ValueError or DatasetError for a dataset that it
        cannot be trained on."""
        if isinstance(config, PiConfig):
            return cls(dataset, *pi_spec_of(dataset, config))
        spec = spec_of(dataset, config)
        return cls(dataset, spec, tuple(camera.name for camera in spec.cameras))

    def windows(
        self,
        cache: Path,
        advance: Callable[[int], None] = lambda _: None,
        *,
        skip_failures: bool = False,
    ) -> EpisodeWindows:
        """`load_windows`, with images by the names of the spec."""
        cameras = tuple(
            CameraFeature(name, width=camera.width, height=camera.height)
            for name, camera in zip(self.theirs, self.spec.cameras, strict=True)
        )
        recorded = msgspec.structs.replace(self.spec, cameras=cameras)
        data = load_windows(self.dataset, recorded, cache, advance, skip_failures=skip_failures)
        images = {
            camera.name: data.images[name]
            for name, camera in zip(self.theirs, self.spec.cameras, strict=True)
        }
        return replace(data, images=images)
