"""Training, one step at a time.

Everything random in a step is drawn from (seed, step), so that a run that was stopped and resumed
goes on exactly as the uninterrupted one, on the same machine and number of threads. What is saved
as the policy is the exponential moving average of the weights.
"""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from ..policy.base import PolicySpec
from ..policy.checkpoint import Config, NormStats, save
from ..policy.encoder import STRIDE, Clues, EncoderConfig
from ..policy.normalize import Normalizer, Stats
from ..policy.registry import untrained_network
from ..policy.tokens import UNKNOWN, Vocabulary
from .dataset import AUXILIARY, LABEL_EVERY, DatasetConfig, Demonstrations


class TrainingConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One named way to train; see tools/training_configs.py.

    `looks` is how many noisy chunks are denoised for each encoded image: images are what costs.
    `fresh` is the share of them that continue no plan.
    """

    kind: Literal["flow", "act"]
    spec: PolicySpec
    network: dict[str, Any]
    dataset: DatasetConfig
    shards: int
    steps: int
    batch: int = 64
    looks: int = 2
    fresh: float = 0.3
    rate: float = 2e-3
    warmup_steps: int = 100
    weight_decay: float = 1e-4
    ema: float = 0.998
    auxiliary_weight: float = 0.3
    finding_weight: float = 0.1
    word_dropout: float = 0.1
    brightness: float = 0.15


def describe(config: TrainingConfig, data: Demonstrations, **made_by: Any) -> Config:
    """The config.json of what this training makes."""
    return Config(
        kind=config.kind,
        spec=config.spec,
        network={**config.network, "auxiliary": len(AUXILIARY)},
        vocabulary=Vocabulary.of(data.tasks).words,
        training={**made_by, "observations": len(data), "steps": config.steps},
    )


def statistics(data: Demonstrations) -> NormStats:
    """Of the states seen and of the actions that the expert would take first from each."""
    first = data.chunks[:, 0]
    steps = np.arange(first.shape[1]) < data.counts[:, :1]
    return NormStats(state=Stats.of(data.state), action=Stats.of(first[steps]))


class Trainer:
    """A network, its optimizer and its average on their way through `config.steps` steps."""

    def __init__(self, config: TrainingConfig, data: Demonstrations, seed: int = 0) -> None:
        self.config, self.data, self.seed, self.step = config, data, seed, 0
        self.seconds = 0.0
        self.description, self.stats = describe(config, data, seed=seed), statistics(data)
        torch.manual_seed(seed)
        self.network = untrained_network(self.description)
        self.average = {k: v.detach().clone() for k, v in self.network.named_parameters()}
        self.optimizer = torch.optim.AdamW(
            _groups(self.network, config.weight_decay), lr=config.rate, betas=(0.9, 0.98)
        )
        words = self.description.network.get("instruction_words", EncoderConfig().instruction_words)
        vocabulary = Vocabulary(self.description.vocabulary)
        self._tokens = np.stack([vocabulary.encode(t, words) for t in data.tasks])
        state = Normalizer(self.stats.state, self.description.state_mode)
        self._action = Normalizer(self.stats.action, self.description.action_mode)
        self._state = state.normalize(data.state)

    def advance(self) -> dict[str, float]:
        """Take one step; returns its metrics."""
        began = time.monotonic()
        config, rng = self.config, np.random.default_rng((self.seed, self.step))
        generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
        rate = self._rate()
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        rows = self._rows()
        seen, clues = self.network.observe(
            tuple(
                torch.from_numpy(brighten(image[rows], config.brightness, rng))
                for image in self.data.images.values()
            ),
            torch.from_numpy(self._state[rows]),
            torch.from_numpy(self._words(rows, rng)),
        )
        chunk, given, counts = self._chunks(np.repeat(rows, config.looks), rng)
        loss = self.network.loss(
            seen.repeat_interleave(config.looks, dim=0),
            chunk,
            given,
            counts,
            generator,
        )
        auxiliary, error = self._auxiliary(clues.places, rows)
        finding, found = self._finding(clues, rows)
        self.optimizer.zero_grad(set_to_none=True)
        total = loss + config.auxiliary_weight * auxiliary + config.finding_weight * finding
        total.backward()  # type: ignore[no-untyped-call]
        norm = nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.optimizer.step()
        self._average()
        self.step += 1
        self.seconds += time.monotonic() - began
        return {
            "loss": float(loss.detach()),
            "auxiliary": float(auxiliary.detach()),
            "finding": float(finding.detach()),
            "found": found,
            "target_error_mm": error,
            "gradient_norm": float(norm),
            "rate": rate,
        }

    def save(self, directory: Path, **made_by: Any) -> str:
        """Write the averaged weights as a checkpoint; returns its hash."""
        training = {**self.description.training, "seed": self.seed, **made_by, "at": self.step}
        return save(
            directory,
            msgspec.structs.replace(self.description, training=training),
            self.stats,
            {k: v.numpy() for k, v in self.average.items()},
        )

    def save_progress(self, path: Path) -> None:
        """Write what `load_progress` needs to go on from here."""
        partial = path.with_suffix(".partial")
        torch.save(
            {
                "step": self.step,
                "seed": self.seed,
                "seconds": self.seconds,
                "network": self.network.state_dict(),
                "average": self.average,
                "optimizer": self.optimizer.state_dict(),
            },
            partial,
        )
        partial.replace(path)

    def load_progress(self, path: Path) -> None:
        """Go on from where `save_progress` wrote. Raises ValueError for another run's progress."""
        saved = torch.load(path, weights_only=True)
        if saved["seed"] != self.seed:
            raise ValueError(
                f"{path} is of a run with seed {saved['seed']}, this one has {self.seed}; "
                "give the same --seed or another --out"
            )
        self.network.load_state_dict(saved["network"])
        self.optimizer.load_state_dict(saved["optimizer"])
        self.average, self.step = saved["average"], saved["step"]
        self.seconds = saved.get("seconds", 0.0)

    def _rate(self) -> float:
        config = self.config
        warm = min(1.0, (self.step + 1) / config.warmup_steps)
        done = min(1.0, self.step / config.steps)
        return config.rate * warm * (0.02 + 0.98 * (0.5 + 0.5 * math.cos(math.pi * done)))

    def _rows(self) -> NDArray[np.int64]:
        """This step's observations: every epoch shows each once, in its own order."""
        total, batch = len(self.data), self.config.batch
        at = np.arange(self.step * batch, (self.step + 1) * batch)
        epochs = {
            int(e): np.random.default_rng((self.seed, 1, int(e))).permutation(total)
            for e in np.unique(at // total)
        }
        return np.array([epochs[int(i // total)][i % total] for i in at], dtype=np.int64)

    def _words(self, rows: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
        """Instructions with some words unknown: those that say nothing must not matter, and a
        sentence put differently still has its colour and its bin."""
        tokens = self._tokens[self.data.task[rows]]
        telling = (self._tokens != self._tokens[:1]).any(0)
        lost = (rng.random(tokens.shape) < self.config.word_dropout) & ~telling & (tokens > 0)
        return np.where(lost, UNKNOWN, tokens)

    def _chunks(
        self, rows: NDArray[np.int64], rng: np.random.Generator
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Chunks [b, H, A], which steps are a given prefix, and which count."""
        data, config = self.data, self.config
        delay = rng.integers(1, config.dataset.max_prefix_steps + 1, len(rows))
        delay[rng.random(len(rows)) < config.fresh] = 0
        if config.spec.prefix != "trained":
            delay[:] = 0
        # An episode that ends within the prefix leaves nothing to learn from it.
        delay[data.counts[rows, delay // LABEL_EVERY] <= delay] = 0
        column = delay // LABEL_EVERY
        chunk = self._action.normalize(data.chunks[rows, column])
        step = np.arange(chunk.shape[1])
        return (
            torch.from_numpy(chunk),
            torch.from_numpy(step < delay[:, None]),
            torch.from_numpy(step < data.counts[rows, column][:, None]),
        )

    def _auxiliary(self, guessed: Tensor, rows: NDArray[np.int64]) -> tuple[Tensor, float]:
        """Loss of the guessed places, and the mean error of the target's in the room, mm."""
        true = torch.from_numpy(self.data.auxiliary[rows])
        visible = torch.from_numpy(self.data.visible[rows]).to(true.dtype)[:, None]
        weight = torch.cat((visible.expand(-1, true.shape[1] - 1), torch.ones_like(visible)), 1)
        loss = (F.smooth_l1_loss(guessed, true, reduction="none", beta=0.1) * weight).mean()
        with torch.no_grad():
            off = (guessed - true)[:, :2] * torch.tensor((100.0, 200.0))
            error = (off.norm(dim=1) * visible[:, 0]).sum() / visible.sum().clamp(min=1)
        return loss, float(error)

    def _finding(self, clues: Clues, rows: NDArray[np.int64]) -> tuple[Tensor, float]:
        """Cross-entropy of where each camera finds the named thing, and how often the first finds
        it to the cell, or its neighbour, or rightly nowhere."""
        losses, found = [], 0.0
        for camera, logits in enumerate(clues.maps):
            image = next(iter(self.data.images.values()))
            rows_down, columns = image.shape[1] // STRIDE, image.shape[2] // STRIDE
            cell = cells(self.data.sights[rows, camera], rows_down, columns)
            losses.append(F.cross_entropy(logits, torch.from_numpy(cell)))
            if camera == 0:
                guess, none = logits.detach().argmax(1).numpy(), rows_down * columns
                near = (abs(guess // columns - cell // columns) <= 1) & (
                    abs(guess % columns - cell % columns) <= 1
                )
                found = float(
                    np.where((guess == none) | (cell == none), guess == cell, near).mean()
                )
        return torch.stack(losses).mean(), found

    @torch.no_grad()
    def _average(self) -> None:
        # A young average of few steps would be mostly the random start.
        keep = min(self.config.ema, (1 + self.step) / (10 + self.step))
        torch._foreach_lerp_(
            list(self.average.values()), list(self.network.parameters()), 1.0 - keep
        )


def cells(sights: NDArray[np.float32], rows: int, columns: int) -> NDArray[np.int64]:
    """Which cell of a map each sight [n, 2] falls into, row by row; the number after the last is
    for sights beyond the picture's edge."""
    across = np.floor((sights[:, 0] + 1) / 2 * columns).astype(np.int64)
    down = np.floor((sights[:, 1] + 1) / 2 * rows).astype(np.int64)
    inside = (across >= 0) & (across < columns) & (down >= 0) & (down < rows)
    return np.where(inside, down * columns + across, rows * columns)


def brighten(
    images: NDArray[np.uint8], amount: float, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """Each image [b, h, w, 3] a little lighter or darker and of more or less contrast."""
    if amount == 0.0:
        return images
    gain = rng.uniform(1 - amount, 1 + amount, (len(images), 1))
    lift = rng.uniform(-255 * amount, 255 * amount, (len(images), 1)) / 2
    tables = np.clip((np.arange(256) - 128) * gain + 128 + lift, 0, 255).astype(np.uint8)
    return np.stack([table[image] for table, image in zip(tables, images, strict=True)])


def _groups(network: nn.Module, decay: float) -> list[dict[str, Any]]:
    """Weight decay for matrices only: shrinking biases and positions helps nothing."""
    parameters = list(network.parameters())
    return [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
