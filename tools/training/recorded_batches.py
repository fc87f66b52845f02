"""`RecordedBatches`: the batches of a training on recorded episodes."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray

from ...policy.base import PolicySpec
from ...policy.checkpoint import Config, NormStats
from ...policy.encoder import EncoderConfig
from ...policy.normalize import Normalizer, bounded
from ...policy.processing import RelativeActions
from ...policy.steps.running_stats import RunningStats
from ...policy.tokens import Vocabulary
from .batches import ALONE, drop_words, epoch_rows, pictures
from .episode_windows import EpisodeWindows
from .ranks import Ranks
from .training_batch import TrainingBatch
from .training_config import RecordedConfig

_ROWS_AT_ONCE = 1024


class RecordedBatches:
    """By number, each a function of the dataset, the config and (seed, number) alone.

    `stats` normalizes; None measures the statistics of the frames: of the states, and of the
    actions as the network sees them (as offsets, those of whole chunks). Raises ValueError.
    """

    def __init__(
        self,
        config: RecordedConfig,
        spec: PolicySpec,
        data: EpisodeWindows,
        seed: int = 0,
        stats: NormStats | None = None,
        **made_by: Any,
    ) -> None:
        self.config, self.data, self.seed = config, data, seed
        self.identity = data.identity
        self.files: dict[str, bytes] = {}
        self._spec = spec
        self._relative = RelativeActions.named(spec, config.relative_actions)
        self.stats = stats or self._measured()
        described = described_by(config, spec, data, seed=seed, **made_by)
        words = Vocabulary.of(data.tasks).words
        self.description = msgspec.structs.replace(described, vocabulary=words)
        length = config.network.get("instruction_words", EncoderConfig().instruction_words)
        vocabulary = Vocabulary(self.description.vocabulary)
        self._tokens = np.stack([vocabulary.encode(task, length) for task in data.tasks])
        self._action = Normalizer(self.stats.action, config.action_mode)
        state = Normalizer(self.stats.state, config.state_mode).normalize(data.state)
        self._state, _ = bounded(state, self.description.state_bound)

    def draw(self, number: int, ranks: Ranks = ALONE) -> TrainingBatch:
        """Batch `number`, or a rank's part of it."""
        config, data = self.config, self.data
        rng = np.random.default_rng((self.seed, number))
        generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
        rows = epoch_rows(len(data), config.batch, self.seed, number)
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
        )

    def _chunks(
        self, rows: NDArray[np.int64], rng: np.random.Generator
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_], NDArray[np.bool_]]:
        """Chunks [b, H, A], the steps that are a given prefix, and those that count."""
        actions, recorded = self._windows(rows)
        given, counts = prefixes(recorded, self._spec, self.config, rng)
        return self._action.normalize(actions), given, counts

    def _windows(self, rows: NDArray[np.int64]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """The actions [b, H, A] as the network sees them before normalization, and how many [b]
        were recorded."""
        actions, recorded = self.data.chunks(rows, self._spec.chunk_size)
        return actions - self._relative.anchors(self.data.state[rows])[:, None], recorded

    def _measured(self) -> NormStats:
        """The statistics of the frames. Raises ValueError for fewer than two."""
        state, action = RunningStats(), RunningStats()
        state.update(self.data.state)
        for first in range(0, len(self.data), _ROWS_AT_ONCE):
            if not self.config.relative_actions:
                action.update(self.data.action[first : first + _ROWS_AT_ONCE])
                continue
            rows = np.arange(first, min(first + _ROWS_AT_ONCE, len(self.data)))
            actions, recorded = self._windows(rows)
            action.update(actions[np.arange(actions.shape[1]) < recorded[:, None]])
        return NormStats(state=state.stats(), action=action.stats())


def described_by(
    config: RecordedConfig, spec: PolicySpec, data: EpisodeWindows, **made_by: Any
) -> Config:
    """The config.json of the checkpoint that a training on `data` makes, without a vocabulary."""
    lower, upper = (
        tuple(map(float, limit)) for limit in (data.action.min(axis=0), data.action.max(axis=0))
    )
    return Config(
        kind=config.kind,
        spec=spec,
        network=config.network,
        state_mode=config.state_mode,
        action_mode=config.action_mode,
        relative_actions=config.relative_actions,
        action_limits=(lower, upper) if config.limit_actions else None,
        training={"frames": len(data), "steps": config.steps, **made_by},
    )


def prefixes(
    recorded: NDArray[np.int64],
    spec: PolicySpec,
    config: RecordedConfig,
    rng: np.random.Generator,
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """The steps [b, H] of chunks that are a given prefix, and those that count, where so many [b]
    steps of each were `recorded`."""
    delay = rng.integers(1, max(spec.max_prefix_steps, 1) + 1, len(recorded))
    delay[rng.random(len(recorded)) < config.fresh] = 0
    # An episode that ends within the prefix leaves no step to learn.
    delay[(recorded <= delay) | (spec.prefix != "trained")] = 0
    step = np.arange(spec.chunk_size)
    return step < delay[:, None], step < (recorded + config.linger_steps)[:, None]
