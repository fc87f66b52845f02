"""Which episode of a dataset is to be played, for a robot or a teleoperator that plays one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import DatasetError, RobotError

if TYPE_CHECKING:
    from .dataset.dataset_reader import Dataset
    from .dataset.recorded_episode import RecordedEpisode


def find_episode(path: str, number: int) -> tuple[Dataset, RecordedEpisode]:
    """The dataset at `path` and its episode `number`, of which the meta folder alone was read.
    Raises RobotError: none, an empty one, or the packages that read datasets are missing."""
    need_packages()
    from .dataset.dataset_reader import Dataset

    try:
        dataset = Dataset(path)
        episode = dataset.episode(number)
    except DatasetError as error:
        raise RobotError(str(error)) from error
    if not len(episode):
        raise RobotError(f"episode {number} of {path} has no frames")
    return dataset, episode


def need_packages() -> None:
    """Raises RobotError where the packages that read datasets are missing."""
    try:
        from .dataset import dataset_reader
    except ModuleNotFoundError as error:
        raise RobotError(
            f"playing an episode needs {error.name}, which is not installed: "
            "`pip install 'holdfast[data]'`, or name an interpreter that has it by `python:`"
        ) from error
    del dataset_reader


def names_of(dataset: Dataset, key: str) -> tuple[str, ...]:
    """The names of the parts of the vector `key`; `state_0`, `action_0` and so on where the dataset
    has none. Raises RobotError for a dataset without this vector."""
    feature = dataset.features.get(key)
    if feature is None or len(feature.shape) != 1:
        raise RobotError(f"{dataset.root} has no vector {key!r}, so it cannot be played")
    plain = tuple(f"{key.rpartition('.')[2]}_{n}" for n in range(feature.shape[0]))
    return feature.flat_names if len(feature.flat_names) == len(plain) else plain
