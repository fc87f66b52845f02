"""The batches of a training: a function of the demonstrations and of (seed, step) alone.

A batch does not depend on the steps before it in this process, so that a resumed run gets those of
the uninterrupted one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from ...policy.checkpoint import Config, NormStats
from ...policy.encoder import STRIDE, EncoderConfig
from ...policy.normalize import Normalizer, Stats
from ...policy.processing import RelativeActions
from ...policy.tokens import UNKNOWN, Vocabulary
from ...robot.sim import SPEC
from .dataset import AUXILIARY, LABEL_EVERY, Demonstrations
from .ranks import Ranks
from .training_batch import GroundTruth, TrainingBatch
from .training_config import TrainingConfig

ALONE = Ranks()


def describe(config: TrainingConfig, data: Demonstrations, **made_by: Any) -> Config:
    """The config.json of the checkpoint that this training makes."""
    return Config(
        kind=config.kind,
        spec=config.spec,
        network={**config.network, "auxiliary": len(AUXILIARY)},
        vocabulary=Vocabulary.of(data.tasks).words,
        state_mode=config.state_mode,
        action_mode=config.action_mode,
        relative_actions=config.relative_actions,
        action_limits=(SPEC.lower, SPEC.upper),
        training={**made_by, "observations": len(data), "steps": config.steps},
    )


class BatchSource(Protocol):
    """The data of a training: `draw` is a function of the number alone. `description` and `stats`
    are those of the checkpoint, `files` what it has beside; `identity` names the data, so that a
    run is not resumed on other data."""

    description: Config
    stats: NormStats
    files: dict[str, bytes]
    seed: int
    identity: str

    def draw(self, number: int, ranks: Ranks = ALONE) -> TrainingBatch:
        """Batch `number`, or a rank's part of it, which has the same random numbers."""


class Batches:
    """The batches of a training on the simulator's demonstrations, by number."""

    def __init__(self, config: TrainingConfig, data: Demonstrations, seed: int) -> None:
        self.config, self.data, self.seed = config, data, seed
        self.identity = f"{len(data)} observations"
        self.files: dict[str, bytes] = {}
        self.description = describe(config, data, seed=seed)
        relative = RelativeActions.named(config.spec, config.relative_actions)
        self._anchors = relative.anchors(data.state)
        self.stats = self._statistics()
        words = self.description.network.get("instruction_words", EncoderConfig().instruction_words)
        vocabulary = Vocabulary(self.description.vocabulary)
        self._tokens = np.stack([vocabulary.encode(t, words) for t in data.tasks])
        self._action = Normalizer(self.stats.action, config.action_mode)
        self._state = Normalizer(self.stats.state, config.state_mode).normalize(data.state)

    def draw(self, number: int, ranks: Ranks = ALONE) -> TrainingBatch:
        """Batch `number`, or a rank's part of it."""
        config, data, rng = self.config, self.data, np.random.default_rng((self.seed, number))
        generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
        rows = self.rows(number)
        images = pictures(data.images, rows, config.brightness, rng, ranks)
        tokens = drop_words(self._tokens, data.task[rows], config.word_dropout, rng)
        chunks = self._chunks(np.repeat(rows, config.looks), rng)
        return TrainingBatch.of(
            images,
            self._state[rows],
            tokens,
            chunks,
            generator,
            ranks,
            truth=GroundTruth(
                places=torch.from_numpy(data.auxiliary[rows]),
                visible=torch.from_numpy(data.visible[rows]),
                cells=tuple(
                    torch.from_numpy(
                        cells(data.sights[rows, i], *(side // STRIDE for side in image.shape[1:3]))
                    )
                    for i, image in enumerate(images)
                ),
                auxiliary_weight=config.auxiliary_weight,
                finding_weight=config.finding_weight,
            ),
        )

    def rows(self, step: int) -> NDArray[np.int64]:
        """The observations of `step`: each once an epoch, in an order of the epoch's own."""
        return epoch_rows(len(self.data), self.config.batch, self.seed, step)

    def _statistics(self) -> NormStats:
        """The statistics of the states and of the expert's actions from each."""
        data = self.data
        first = data.chunks[:, 0] - self._anchors[:, None]
        steps = np.arange(first.shape[1]) < data.counts[:, :1]
        return NormStats(state=Stats.of(data.state), action=Stats.of(first[steps]))

    def _chunks(
        self, rows: NDArray[np.int64], rng: np.random.Generator
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_], NDArray[np.bool_]]:
        """Chunks [b, H, A], the steps that are a given prefix, and those that count."""
        data, config = self.data, self.config
        delay = rng.integers(1, config.dataset.max_prefix_steps + 1, len(rows))
        delay[rng.random(len(rows)) < config.fresh] = 0
        if config.spec.prefix != "trained":
            delay[:] = 0
        # An episode that ends within the prefix leaves no step to learn.
        delay[data.counts[rows, delay // LABEL_EVERY] <= delay] = 0
        column = delay // LABEL_EVERY
        chunk = self._action.normalize(data.chunks[rows, column] - self._anchors[rows][:, None])
        step = np.arange(chunk.shape[1])
        counts = data.counts[rows, column] + config.linger_steps
        return chunk, step < delay[:, None], step < counts[:, None]


def epoch_rows(total: int, batch: int, seed: int, number: int) -> NDArray[np.int64]:
    """The rows [batch] of batch `number` among `total`: each once an epoch, in an order of the
    epoch's own."""
    position = np.arange(number * batch, (number + 1) * batch)
    epochs = {
        int(e): np.random.default_rng((seed, 1, int(e))).permutation(total)
        for e in np.unique(position // total)
    }
    return np.array([epochs[int(i // total)][i % total] for i in position], dtype=np.int64)


def drop_words(
    instructions: NDArray[np.int64],
    task: NDArray[np.int64],
    share: float,
    rng: np.random.Generator,
) -> NDArray[np.int64]:
    """The tokens [b, L] of each `task` [b], a row of `instructions` [tasks, L]. A `share` of the
    words that all tasks have is unknown, so that another wording has little effect."""
    tokens = instructions[task]
    distinguishing = (instructions != instructions[:1]).any(0)
    lost = (rng.random(tokens.shape) < share) & ~distinguishing & (tokens > 0)
    return np.where(lost, UNKNOWN, tokens)


def cells(sights: NDArray[np.float32], rows: int, columns: int) -> NDArray[np.int64]:
    """The cell of a map for each sight [n, 2], row by row; `rows * columns` for sights outside of
    the image."""
    across = np.floor((sights[:, 0] + 1) / 2 * columns).astype(np.int64)
    down = np.floor((sights[:, 1] + 1) / 2 * rows).astype(np.int64)
    inside = (across >= 0) & (across < columns) & (down >= 0) & (down < rows)
    return np.where(inside, down * columns + across, rows * columns)


def pictures(
    images: Mapping[str, NDArray[np.uint8]],
    rows: NDArray[np.int64],
    brightness: float,
    rng: np.random.Generator,
    ranks: Ranks,
) -> list[NDArray[np.uint8]]:
    """The images [b, h, w, 3] of a rank's part of `rows`, by camera, each with a random brightness
    and contrast."""
    mine, taken = ranks.part(len(rows)), []
    for whole in images.values():
        part = whole[rows[mine]]
        if brightness:
            gain = rng.uniform(1 - brightness, 1 + brightness, len(rows))
            lift = rng.uniform(-255 * brightness, 255 * brightness, len(rows)) / 2
            part = brighten(part, gain[mine], lift[mine])
        taken.append(part)
    return taken


def brighten(
    images: NDArray[np.uint8], gain: NDArray[np.float64], lift: NDArray[np.float64]
) -> NDArray[np.uint8]:
    """Images [b, h, w, 3], the contrast of each multiplied by `gain` [b] and its brightness raised
    by `lift` [b], at most to black and white."""
    values = (np.arange(256) - 128) * gain[:, None] + 128 + lift[:, None]
    tables = np.clip(values, 0, 255).astype(np.uint8)
    return np.stack([table[image] for table, image in zip(tables, images, strict=True)])
