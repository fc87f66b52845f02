"""`verification`: a dataset and a running service, from the question to what was found."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...actors.embedding.identity import Identity
from ...actors.embedding.service_list import ServiceOffer
from ...actors.runtime.key_files import KeyFiles
from ...actors.runtime.own_keys import OwnKeys
from ...errors import DatasetError
from ...robot.dataset.dataset_reader import Dataset
from .checkpoint_statistics import compared
from .deployed_service import DeployedService
from .image_fit import Fit
from .matching import match
from .recorded_samples import RecordedSample, recorded_samples
from .verification_run import PolicyCheck, PolicyFinding, Tolerances, Verified

COLOURS_APART = 0.02
"""Of 1: so far apart red and blue are in the statistics where an exchange can be told."""


@dataclass(frozen=True)
class Question:
    """What is asked; the fields are the options of `actorctl policy verify`."""

    offer: ServiceOffer
    broker: str
    dataset: Path
    episodes: int
    samples: int
    training: Fit
    jpeg_quality: int
    rename: Mapping[str, str]
    tolerances: Tolerances
    checkpoint: Path | None
    identity: Identity


def verification(question: Question) -> Verified:
    """Ask the service for every sample. Raises DatasetError, and what the service refuses by."""
    offer, dataset = question.offer, Dataset(question.dataset)
    if offer.observation_steps > 1:
        raise DatasetError(
            f"service {offer.name} sees the last {offer.observation_steps} observations: only "
            "policies that see one can be verified"
        )
    matched = match(dataset, offer, question.rename)
    samples = list(
        recorded_samples(
            dataset,
            matched.cameras,
            question.episodes,
            question.samples,
            offer.chunk_size,
            with_state=bool(offer.state_names),
        )
    )
    if not samples:
        raise DatasetError(f"{dataset.root} has no frame")
    own = question.identity
    files = KeyFiles(key=own.key, brokers=own.broker_keys)
    keys, robot = OwnKeys("verify", files, ()), own.name
    with DeployedService(offer, question.broker, question.jpeg_quality, keys, robot) as service:
        check = PolicyCheck(
            samples,
            offer.cameras,
            offer.action_names,
            service.chunk,
            service.received,
            question.training,
            "" if offer.pin_task is not None else None,
        )
        found = check.run(matched.deployed, question.tolerances, matched.others)
    found.findings[:0] = [
        *matched.findings,
        *_tasks(samples, offer),
        *colours(dataset, samples, matched.cameras),
    ]
    if question.checkpoint is not None:
        found.findings += compared(question.checkpoint, dataset, offer.state_names)
    return found


def _tasks(samples: Sequence[RecordedSample], offer: ServiceOffer) -> Iterator[PolicyFinding]:
    if offer.pin_task is None:
        return
    others = sorted({sample.task for sample in samples} - {offer.pin_task})
    if others:
        words = (
            f"the service always does {offer.pin_task!r}, recorded were {', '.join(others):.200}"
        )
        yield PolicyFinding("the task", words, beyond=False)


def colours(
    dataset: Dataset, samples: Sequence[RecordedSample], cameras: Mapping[str, str]
) -> Iterator[PolicyFinding]:
    """Frames whose red and blue are exchanged against the dataset's own statistics."""
    stats = dataset.stats()
    for name, key in cameras.items():
        wanted = np.ravel(stats.get(key, {}).get("mean", ()))
        if len(wanted) != 3 or abs(wanted[0] - wanted[2]) < COLOURS_APART:
            continue
        seen = np.mean([s.images[name].reshape(-1, 3).mean(axis=0) for s in samples], axis=0) / 255
        apart = np.abs(seen - wanted).max()
        if np.abs(seen[::-1] - wanted).max() < 0.5 * apart and apart > COLOURS_APART:
            shown = "red {:.2f}, blue {:.2f}".format(*seen[::2])
            said = "red {:.2f}, blue {:.2f}".format(*wanted[::2])
            words = f"its frames have {shown} on average, the dataset's statistics say {said}"
            yield PolicyFinding(f"camera {name}", f"{words}: one of them is BGR")
