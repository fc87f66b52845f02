"""Training, one step at a time.

All randomness of a step is drawn from (seed, step), so that a resumed run equals the uninterrupted
one, on the same machine and number of threads. The saved policy is the exponential moving average
of the weights.
"""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any

import msgspec
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...policy.checkpoint import save
from ...policy.encoder import Clues
from ...policy.kinds import untrained_network
from .batches import Batches, TrainingBatch
from .dataset import AUXILIARY_SCALE, Demonstrations
from .training_config import TrainingConfig


class Trainer:
    """A network, its optimizer and its average over `config.steps` steps."""

    def __init__(self, config: TrainingConfig, data: Demonstrations, seed: int = 0) -> None:
        self.config, self.seed, self.step = config, seed, 0
        self.seconds = 0.0
        self.batches = Batches(config, data, seed)
        torch.manual_seed(seed)
        self.network = untrained_network(self.batches.description)
        self.average = {k: v.detach().clone() for k, v in self.network.named_parameters()}
        self.optimizer = torch.optim.AdamW(
            _groups(self.network, config.weight_decay), lr=config.rate, betas=(0.9, 0.98)
        )

    def advance(self) -> dict[str, float]:
        """Take one step; return its metrics."""
        began_s = time.monotonic()
        config, batch = self.config, self.batches.draw(self.step)
        rate = self._rate()
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        seen, clues = self.network.observe(batch.images, batch.state, batch.tokens)
        loss = self.network.loss(
            seen.repeat_interleave(config.looks, dim=0),
            batch.chunk,
            batch.given,
            batch.counts,
            batch.generator,
        )
        auxiliary, error_mm = place_loss(clues, batch)
        finding, found = finding_loss(clues, batch)
        self.optimizer.zero_grad(set_to_none=True)
        total = loss + config.auxiliary_weight * auxiliary + config.finding_weight * finding
        total.backward()  # type: ignore[no-untyped-call]
        norm = nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.optimizer.step()
        self._average()
        self.step += 1
        self.seconds += time.monotonic() - began_s
        return {
            "loss": float(loss.detach()),
            "auxiliary": float(auxiliary.detach()),
            "finding": float(finding.detach()),
            "found": found,
            "target_error_mm": error_mm,
            "gradient_norm": float(norm),
            "rate": rate,
        }

    def save(self, directory: Path, **made_by: Any) -> str:
        """Write the averaged weights as a checkpoint; return its hash."""
        description = self.batches.description
        training = {**description.training, **made_by, "at": self.step}
        return save(
            directory,
            msgspec.structs.replace(description, training=training),
            self.batches.stats,
            {k: v.numpy() for k, v in self.average.items()},
        )

    def save_progress(self, path: Path) -> None:
        """Write the state from which `load_progress` continues."""
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
        """Continue from a file of `save_progress`. Raises ValueError for that of another seed."""
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

    @torch.no_grad()
    def _average(self) -> None:
        # Without this, the average of the first steps would be mostly the random initial weights.
        keep = min(self.config.ema, (1 + self.step) / (10 + self.step))
        torch._foreach_lerp_(
            list(self.average.values()), list(self.network.parameters()), 1.0 - keep
        )


def place_loss(clues: Clues, batch: TrainingBatch) -> tuple[Tensor, float]:
    """The loss of the predicted places, and the mean error of the target's position, mm. Only
    visible targets count, except for the last place, which is the visibility."""
    visible = batch.visible.to(batch.places.dtype)[:, None]
    others = batch.places.shape[1] - 1
    weight = torch.cat((visible.expand(-1, others), torch.ones_like(visible)), 1)
    loss = F.smooth_l1_loss(clues.places, batch.places, reduction="none", beta=0.1) * weight
    with torch.no_grad():
        off = (clues.places - batch.places)[:, :2] * torch.tensor(AUXILIARY_SCALE[:2] * 1000)
        error = (off.norm(dim=1) * visible[:, 0]).sum() / visible.sum().clamp(min=1)
    return loss.mean(), float(error)


def finding_loss(clues: Clues, batch: TrainingBatch) -> tuple[Tensor, float]:
    """The cross-entropy of the named object's cell over all cameras, and the accuracy of the first
    camera."""
    pairs = list(zip(clues.maps, batch.cells, strict=True))
    loss = torch.stack([F.cross_entropy(logits, cell) for logits, cell in pairs]).mean()
    logits, cell = pairs[0]
    return loss, float((logits.detach().argmax(1) == cell).float().mean())


def _groups(network: nn.Module, decay: float) -> list[dict[str, Any]]:
    """The parameter groups of the optimizer: weight decay for matrices only."""
    parameters = list(network.parameters())
    return [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
