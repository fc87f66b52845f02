"""`RecordedSample`: a frame of a recorded episode, with the actions that followed it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...robot.dataset.dataset_reader import Dataset
from ...transport.images import Pixels


@dataclass(frozen=True)
class RecordedSample:
    """State [S] and actions [at most H, A] in the dataset's order, the first action being that of
    this frame; images by the service's camera names, as they were recorded."""

    episode: int
    frame: int
    state: NDArray[np.float32]
    actions: NDArray[np.float32]
    images: dict[str, Pixels]
    task: str


def recorded_samples(
    dataset: Dataset,
    cameras: Mapping[str, str],
    episodes: int,
    per_episode: int,
    horizon: int,
    with_state: bool = True,
) -> Iterator[RecordedSample]:
    """So many samples of each of the first episodes, at equal distances. `cameras`: the dataset's
    key of each camera of the service. Raises DatasetError."""
    for index in range(min(episodes, len(dataset))):
        episode = dataset.episode(index)
        if not len(episode):
            continue
        chosen = {int(k) for k in np.linspace(0, len(episode) - 1, min(per_episode, len(episode)))}
        states = episode.states if with_state else np.zeros((len(episode), 0), np.float32)
        actions, tasks = episode.actions, episode.tasks
        streams = [episode.frames(key) for key in cameras.values()]
        for frame in range(max(chosen) + 1):
            pictures = [next(stream) for stream in streams]
            if frame in chosen:
                yield RecordedSample(
                    episode=index,
                    frame=frame,
                    state=states[frame],
                    actions=actions[frame : frame + horizon],
                    images=dict(zip(cameras, pictures, strict=True)),
                    task=tasks[frame],
                )
