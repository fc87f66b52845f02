"""Training, one step at a time.

All randomness of a step is drawn from (seed, step), so that a resumed run equals the uninterrupted
one, on the same machine with the same number of threads. The saved policy is the exponential moving
average of the weights.
"""

from __future__ import annotations

import json
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
from .base_weights import load_base
from .batches import BatchSource, GroundTruth, TrainingBatch
from .dataset import AUXILIARY_SCALE
from .training_config import OptimizationConfig


class Trainer:
    """A network, its optimizer and its average over `config.steps` steps. Raises
    PolicyError for a network that cannot be built, and for base weights that do not fit."""

    def __init__(self, config: OptimizationConfig, batches: BatchSource) -> None:
        self.config, self.batches, self.step = config, batches, 0
        self.seconds = 0.0
        torch.manual_seed(batches.seed)
        self.network = untrained_network(batches.description)
        if config.base:
            words = batches.description.vocabulary
            load_base(self.network, config.base, config.base_weights, words)
        self.average = {k: v.detach().clone() for k, v in self.network.named_parameters()}
        self.optimizer = torch.optim.AdamW(
            _groups(self.network, config.weight_decay), lr=config.rate, betas=(0.9, 0.98)
        )

    def advance(self) -> dict[str, float]:
        """Take one step; return its metrics, those of the losses averaged over its batches."""
        began_s = time.monotonic()
        config, rate = self.config, self._rate()
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad(set_to_none=True)
        passes = [
            self._backward(self.batches.draw(self.step * config.accumulate + number))
            for number in range(config.accumulate)
        ]
        norm = nn.utils.clip_grad_norm_(self.network.parameters(), config.gradient_norm)
        self.optimizer.step()
        self._average()
        self.step += 1
        self.seconds += time.monotonic() - began_s
        means = {key: sum(each[key] for each in passes) / len(passes) for key in passes[0]}
        return {**means, "gradient_norm": float(norm), "rate": rate}

    def _backward(self, batch: TrainingBatch) -> dict[str, float]:
        """Add the gradients of `batch`; return its losses."""
        config = self.config
        low = config.dtype == "bfloat16"
        with torch.autocast("cpu", torch.bfloat16, enabled=low):
            seen, clues = self.network.observe(batch.images, batch.state, batch.tokens)
            loss = self.network.loss(
                seen.repeat_interleave(config.looks, dim=0),
                batch.chunk,
                batch.given,
                batch.counts,
                batch.generator,
            )
            total, metrics = loss, {"loss": float(loss.detach())}
            if batch.truth is not None:
                auxiliary, error_mm = place_loss(clues, batch.truth)
                finding, found = finding_loss(clues, batch.truth)
                total = (
                    loss
                    + batch.truth.auxiliary_weight * auxiliary
                    + batch.truth.finding_weight * finding
                )
                metrics |= {
                    "auxiliary": float(auxiliary.detach()),
                    "finding": float(finding.detach()),
                    "found": found,
                    "target_error_mm": error_mm,
                }
        if config.accumulate > 1:
            total = total / config.accumulate
        total.backward()  # type: ignore[no-untyped-call]
        return metrics

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
                "run": self.run(),
                "seconds": self.seconds,
                "network": self.network.state_dict(),
                "average": self.average,
                "optimizer": self.optimizer.state_dict(),
            },
            partial,
        )
        partial.replace(path)

    def run(self) -> dict[str, str]:
        """What has to be the same for a run to be resumed: seed, data, and every key of the
        config."""
        settings = msgspec.to_builtins(self.config)
        network = {f"network.{key}": value for key, value in settings.pop("network").items()}
        made_of = {
            "seed": self.batches.seed,
            "data": self.batches.identity,
            **settings,
            **network,
        }
        return {key: json.dumps(value) for key, value in made_of.items()}

    def load_progress(self, path: Path) -> None:
        """Continue from a file of `save_progress`. Raises ValueError for that of a run with another
        seed, config or data, which names each difference."""
        saved = torch.load(path, weights_only=True)
        before, now = saved.get("run", {}), self.run()
        differences = [
            f"{key} was {before.get(key, 'not set')}, is now {now.get(key, 'not set')}"
            for key in dict.fromkeys((*before, *now))
            if before.get(key) != now.get(key)
        ]
        if differences:
            raise ValueError(
                f"{path} is of another run: {'; '.join(differences)}. Give what it had, another "
                "--out, or --no-resume to start over"
            )
        self.network.load_state_dict(saved["network"])
        self.optimizer.load_state_dict(saved["optimizer"])
        self.average, self.step = saved["average"], saved["step"]
        self.seconds = saved.get("seconds", 0.0)

    def _rate(self) -> float:
        config = self.config
        warm = min(1.0, (self.step + 1) / config.warmup_steps)
        done = min(1.0, self.step / config.steps)
        falling = 0.5 + 0.5 * math.cos(math.pi * done)
        return config.rate * warm * (config.final_rate + (1 - config.final_rate) * falling)

    @torch.no_grad()
    def _average(self) -> None:
        # Without this, the average of the first steps would be mostly the random initial weights.
        keep = min(self.config.ema, (1 + self.step) / (10 + self.step))
        torch._foreach_lerp_(
            list(self.average.values()), list(self.network.parameters()), 1.0 - keep
        )


def place_loss(clues: Clues, truth: GroundTruth) -> tuple[Tensor, float]:
    """The loss of the predicted places, and the mean error of the target's position, mm. Only
    visible targets count, except for the last place, which is the visibility."""
    visible = truth.visible.to(truth.places.dtype)[:, None]
    others = truth.places.shape[1] - 1
    weight = torch.cat((visible.expand(-1, others), torch.ones_like(visible)), 1)
    loss = F.smooth_l1_loss(clues.places, truth.places, reduction="none", beta=0.1) * weight
    with torch.no_grad():
        scale = torch.tensor(AUXILIARY_SCALE[:2] * 1000)
        off = (clues.places - truth.places)[:, :2] * scale
        error = (off.norm(dim=1) * visible[:, 0]).sum() / visible.sum().clamp(min=1)
    return loss.mean(), float(error)


def finding_loss(clues: Clues, truth: GroundTruth) -> tuple[Tensor, float]:
    """The cross-entropy of the named object's cell over all cameras, and the accuracy of the first
    camera."""
    pairs = list(zip(clues.maps, truth.cells, strict=True))
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
