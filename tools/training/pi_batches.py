"""`PiBatches`: the batches of a training of π0 or π0.5 on recorded episodes.

A sample goes through the steps of the service (`trained_data`, `Sampling`), so that a network sees
in training what it sees in service.
"""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray

from ...policy.base import Observation, PolicySpec
from ...policy.checkpoint import NormStats
from ...policy.pi0.checkpoint_layout import PROMPT_TOKENS
from ...policy.pi0.pi_sample import PiSample, texts_of_batch, views_of
from ...policy.pi0.sampling import Sampling
from ...policy.pi0.trained_data import robot_of, steps_of
from .action_answers import ActionAnswers
from .augmentation import augmented
from .batches import ALONE, epoch_rows, pictures
from .episode_windows import EpisodeWindows
from .pi_config import PiConfig, family_of, network_of
from .pi_recordings import measured, word_pieces_of
from .ranks import Ranks
from .recorded_batches import described_by, prefixes
from .training_batch import TrainingBatch

PAD = 0
"""The word behind a prompt."""

_HIGHEST = 2.0
"""A normalized state whose number, 255, has as many digits as any."""


class PiBatches:
    """By number, each a function of the dataset, the config and (seed, number) alone. The config
    has the sizes of its network (`sized`).

    `stats` normalizes; None measures the statistics of the frames. Raises ValueError or
    PolicyError.
    """

    def __init__(
        self,
        config: PiConfig,
        spec: PolicySpec,
        data: EpisodeWindows,
        seed: int = 0,
        stats: NormStats | None = None,
        **made_by: Any,
    ) -> None:
        self.config, self.data, self.seed = config, data, seed
        self.identity = data.identity
        family, settings = family_of(config), network_of(config)
        if not config.prompt_from_task:
            spec = msgspec.structs.replace(spec, only_task=settings.prompt)
        self._spec = spec
        architecture = settings.architecture(family, spec.chunk_size)
        for names, most, key in (
            (spec.state_names, settings.states, "states"),
            (spec.action_names, settings.actions, "actions"),
        ):
            if len(names) > most:
                raise ValueError(
                    f"network.{key} is {most}, the robot has {len(names)}: {', '.join(names)}"
                )
        self.stats = stats or measured(config, family, spec, data)
        self.description = described_by(config, spec, data, seed=seed, **made_by)
        robot = robot_of(spec, settings.mapping, config.relative_actions)
        self._keys = robot.keys
        self._steps = steps_of(robot, family, self.description, self.stats)
        pieces, self.files = word_pieces_of(config)
        limit = settings.prompt_tokens or PROMPT_TOKENS[family]
        self._sampling = Sampling(
            architecture, "openpi", pieces, limit, settings.discrete_state_input
        )
        self._check_prompts()
        self._answers = None
        if config.insulate and config.action_tokenizer:
            self._answers = ActionAnswers(
                config.action_tokenizer, settings.words, pieces.size, pieces.begin
            )

    def draw(self, number: int, ranks: Ranks = ALONE) -> TrainingBatch:
        """Batch `number`, or a rank's part of it."""
        config, data = self.config, self.data
        rng = np.random.default_rng((self.seed, number))
        generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
        rows = epoch_rows(len(data), config.batch, self.seed, number)
        images = pictures(data.images, rows, config.brightness, rng, ALONE)
        actions, recorded = data.chunks(rows, self._spec.chunk_size)
        samples = [
            self._sample(row, dict(zip(data.images, views, strict=True)), chunk)
            for row, chunk, *views in zip(rows, actions, *images, strict=True)
        ]
        tokens, _ = texts_of_batch(samples, max(len(sample.tokens) for sample in samples))
        answer = None
        if self._answers is not None:
            real = len(self._spec.action_names)
            answer = self._answers.padded([s.prefix[:, :real] for s in samples], PAD)
        mine, looks = ranks.part(len(samples)), config.looks
        given, counts = prefixes(np.repeat(recorded, looks), self._spec, config, rng)
        chunks = np.repeat(np.stack([sample.prefix for sample in samples]), looks, axis=0)
        return TrainingBatch.of(
            self._views(samples, rng, mine),
            np.stack([sample.state for sample in samples]),
            tokens,
            (chunks, given, counts),
            generator,
            ranks,
            answer=answer,
            pad=PAD,
        )

    def _views(
        self, samples: list[PiSample], rng: np.random.Generator, mine: slice
    ) -> list[NDArray[np.uint8]]:
        """The images of those samples that are `mine`, by the model's places for images."""
        if not self.config.augment:
            return views_of(samples[mine])
        return [
            augmented(views, rng, mine, moves="wrist" not in place)
            for place, views in zip(samples[0].images, views_of(samples), strict=True)
        ]

    def _sample(
        self, row: int, images: dict[str, NDArray[np.uint8]], chunk: NDArray[np.float32]
    ) -> PiSample:
        """The sample of a frame, whose `prefix` is the whole chunk that follows."""
        data = self.data
        seen = Observation(
            state=data.state[row],
            images=images,
            task=data.tasks[data.task[row]] if self.config.prompt_from_task else "",
            prefix_robot=chunk,
        )
        return self._sampling.sample(self._steps.before(self._keys.observed(seen)), seen)

    def _check_prompts(self) -> None:
        """Raises ValueError for a task whose prompt has more tokens than the network reads: such a
        prompt is cut, and the state is at its end."""
        sampling = self._sampling
        whole = Sampling(
            sampling.architecture, sampling.origin, sampling.pieces, 1 << 30, sampling.reads_state
        )
        state = np.full(len(self._spec.state_names), _HIGHEST)
        default = network_of(self.config).prompt
        tasks = self.data.tasks if self.config.prompt_from_task else (default,)
        lengths = {task: len(whole.tokens(task or default, state)) for task in tasks}
        task = max(lengths, key=lambda each: lengths[each])
        if lengths[task] > sampling.prompt_tokens:
            raise ValueError(
                f"the prompt of {task[:60]!r} has up to {lengths[task]} tokens, the network reads "
                f"{sampling.prompt_tokens}: shorten the task, or set network.prompt_tokens="
                f"{lengths[task]}"
            )
