"""A training on fake data: `check` from the window to the served chunk, `check_beginning` before
real data is read."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch

from ...errors import PolicyError
from ...policy.base import CameraFeature, PolicySpec
from ...policy.checkpoint import NormStats
from ...policy.pi0.pi_settings import PiSettings
from .action_answers import words_beside
from .batches import BatchSource
from .byte_pieces import WORDS as BYTE_WORDS
from .episode_windows import EpisodeWindows, fake_windows
from .pi_batches import PiBatches
from .pi_config import PiConfig, sized
from .pi_presets import small_network
from .pi_recordings import BYTES, fake_pi_spec
from .recorded_batches import RecordedBatches
from .trained_policy import trained_policy
from .trainee import CPU, META
from .trainer import Trainer
from .training_config import RecordedConfig, prefix_of

_PROMPT_BYTES = 1024
"""One token a byte makes a prompt longer than PaliGemma's words do."""


def fake_spec(config: RecordedConfig) -> PolicySpec:
    """The spec of a robot with six joints, or of the config's mapping, for a check without a
    dataset."""
    joints = tuple(f"joint_{number}" for number in range(1, 7))
    names = tuple(dict.fromkeys((*joints, *config.relative_actions)))
    width, height = config.image_width or 1, config.image_height or 1
    plain = PolicySpec(
        model="check",
        revision="1",
        cameras=tuple(
            CameraFeature(name, width=width, height=height) for name in config.cameras or ("front",)
        ),
        state_names=names,
        action_names=names,
        chunk_size=config.chunk_size,
        fps=30,
        **prefix_of(config),
    )
    return fake_pi_spec(config, plain) if isinstance(config, PiConfig) else plain


@contextlib.contextmanager
def ready_for_check(config: RecordedConfig) -> Iterator[RecordedConfig]:
    """The config as it is checked: a published π0 or π0.5 without a base has another one, small and
    untrained."""
    if not isinstance(config, PiConfig):
        yield config
        return
    if config.base or "language" in config.network:
        yield sized(config)
        return
    fake = msgspec.structs.replace(
        config, network=_small_for(config), tokenizer=BYTES, statistics="recomputed"
    )
    untrained = msgspec.structs.replace(
        fake, freeze=(), lora=type(config.lora)(), insulate=False, base_weights=("*",)
    )
    plain = sized(untrained)
    with tempfile.TemporaryDirectory() as folder:
        Trainer(plain, batches_of(plain, fake_spec(plain), fake_windows(fake_spec(plain)))).save(
            Path(folder)
        )
        yield sized(msgspec.structs.replace(fake, base=folder))


def _small_for(config: PiConfig) -> dict[str, Any]:
    """A `network` that is small and takes what the published one takes: as many states and actions,
    prompts of bytes, and the words of FAST's tokens."""
    published = PiSettings()
    sizes = {"states": published.states, "actions": published.actions}
    network = {**small_network(), **sizes, **config.network, "prompt_tokens": _PROMPT_BYTES}
    if config.insulate and config.action_tokenizer:
        network["words"] = words_beside(config.action_tokenizer, BYTE_WORDS)
    return network


def batches_of(
    config: RecordedConfig,
    spec: PolicySpec,
    data: EpisodeWindows,
    seed: int = 0,
    stats: NormStats | None = None,
    **made_by: Any,
) -> BatchSource:
    """The batches of the config's kind, normalized by `stats`, else by the statistics of `data`."""
    if isinstance(config, PiConfig):
        return PiBatches(config, spec, data, seed, stats, **made_by)
    return RecordedBatches(config, spec, data, seed, stats, **made_by)


def check(config: RecordedConfig, spec: PolicySpec, seed: int, device: torch.device = CPU) -> float:
    """Take a step on at most two fake samples, save, load as a service does, predict a chunk;
    return the loss. Raises PolicyError or ValueError for what does not work."""
    config = msgspec.structs.replace(config, batch=min(config.batch, 2))
    trainer = Trainer(config, batches_of(config, spec, fake_windows(spec, seed), seed), device)
    loss = trainer.advance()["loss"]
    if not np.isfinite(loss):
        raise PolicyError(f"the loss of the fake batch is {loss}, expected a finite number")
    with tempfile.TemporaryDirectory() as folder:
        trainer.save(Path(folder))
        policy = trained_policy(config.kind, folder, str(device))
        (chunk,) = policy.predict_chunk([policy.spec.example()])
    expected = (spec.chunk_size, len(spec.action_names))
    if chunk.robot.shape != expected or not np.isfinite(chunk.robot).all():
        raise PolicyError(f"the chunk is {chunk.robot.shape}, expected finite {expected}")
    return loss


def check_beginning(config: RecordedConfig, spec: PolicySpec, tasks: tuple[str, ...]) -> None:
    """Begin the training on episodes of `tasks`, without their frames and without the values of a
    π0's base, which are many. Raises PolicyError or ValueError for a network, base weights,
    adapters or frozen weights that do not fit."""
    Trainer(config, batches_of(config, spec, fake_windows(spec, tasks=tasks)), META)
