"""Training, one step at a time.

All randomness of a step is drawn from (seed, step), so that a resumed run equals the uninterrupted
one, on the same machine with the same number of threads and processes. The saved policy is the
exponential moving average of the weights.
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
from torch.utils._pytree import tree_map

from ...policy.checkpoint import replace_file, save
from .batch_loader import BatchLoader
from .batches import ALONE, BatchSource
from .frozen_weights import freeze
from .low_rank import add_adapters, merged
from .ranks import Ranks, sharded_as, whole
from .trainee import CPU, META, trainee_of
from .training_batch import TrainingBatch
from .training_config import OptimizationConfig


class Trainer:
    """A network, its optimizer and its average over `config.steps` steps, on `device`, alone or
    sharded over `ranks`, which all call each method. `loaders` threads draw batches ahead. On the
    device `meta` it is begun and checked, and has no values to train.

    Raises PolicyError for a network that cannot be built, and for base weights that do not fit;
    ValueError for a batch that the ranks do not divide, and for weights that cannot be frozen.
    """

    def __init__(
        self,
        config: OptimizationConfig,
        batches: BatchSource,
        device: torch.device = CPU,
        ranks: Ranks = ALONE,
        loaders: int = 0,
    ) -> None:
        self.config, self.batches, self.step = config, batches, 0
        self.device, self.ranks = device, ranks
        self.seconds = 0.0
        if config.batch % ranks.count:
            raise ValueError(
                f"batch={config.batch} does not divide into {ranks.count} processes: give a "
                f"multiple, as batch={ranks.count * max(1, config.batch // ranks.count)}"
            )
        self.loader = BatchLoader(self._draw, loaders)
        torch.manual_seed(batches.seed)
        # Random weights are drawn on the CPU: the same for every device.
        self._trainee = trainee_of(config, batches.description, META if device == META else CPU)
        self.network = self._trainee.network
        self._begin()
        self.network.to(device)
        self.loss = self._trainee.loss
        ranks.shard(self.loss, device)
        self.trained = {
            name: parameter
            for name, parameter in self.network.named_parameters()
            if parameter.requires_grad and parameter.numel()
        }
        self.average = {name: each.detach().clone() for name, each in self.trained.items()}
        self.optimizer = torch.optim.AdamW(
            _groups(list(self.trained.values()), config.weight_decay),
            lr=config.rate,
            betas=(0.9, config.beta2),
        )

    def _begin(self) -> None:
        """What is trained of the base's weights, or beside them."""
        config, frozen = self.config, self.config.freeze
        if config.lora.rank:
            if not config.base:
                raise ValueError(
                    f"lora.rank={config.lora.rank} changes a trained network: name it, as "
                    "base=runs/first"
                )
            add_adapters(self.network, config.lora, config.kind)
            frozen = frozen or ("*",)
        if frozen:
            freeze(self.network, frozen, self._trainee.loaded)

    def advance(self) -> dict[str, float]:
        """Take one step; return its metrics, those of the losses averaged over its batches."""
        began_s = time.monotonic()
        config, rate = self.config, self._rate()
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad(set_to_none=True)
        passes = [
            self._backward(self.loader.take(self.step * config.accumulate + number))
            for number in range(config.accumulate)
        ]
        norm = nn.utils.clip_grad_norm_(self.trained.values(), config.gradient_norm)
        self.optimizer.step()
        self._average()
        self.step += 1
        self.seconds += time.monotonic() - began_s
        means = {key: sum(float(each[key]) for each in passes) / len(passes) for key in passes[0]}
        return {**self.ranks.means(means), "gradient_norm": float(whole(norm)), "rate": rate}

    def _draw(self, number: int) -> TrainingBatch:
        batch = self.batches.draw(number, self.ranks)
        return batch.pinned() if self.device.type == "cuda" else batch

    def _backward(self, batch: TrainingBatch) -> dict[str, Tensor]:
        """Add the gradients of `batch`; return its losses."""
        low = self.config.dtype == "bfloat16"
        with torch.autocast(self.device.type, torch.bfloat16, enabled=low):
            lost: tuple[Tensor, dict[str, Tensor]] = self.loss(batch.to(self.device))
        total, metrics = lost
        if self.config.accumulate > 1:
            total = total / self.config.accumulate
        total.backward()  # type: ignore[no-untyped-call]
        return metrics

    def save(self, directory: Path, **made_by: Any) -> str:
        """Write the averaged weights as a checkpoint, which the first rank does; return its hash,
        elsewhere an empty one."""
        weights = {name: whole(each) for name, each in self.network.named_parameters()}
        weights |= {name: whole(each) for name, each in self.average.items()}
        if self.ranks.rank:
            return ""
        description = self.batches.description
        training = {**description.training, **made_by, "at": self.step}
        named = self._trainee.named(merged(weights, self.config.lora))
        directory.mkdir(parents=True, exist_ok=True)
        for name, content in self.batches.files.items():
            replace_file(directory / name, content)
        return save(
            directory,
            msgspec.structs.replace(description, training=training),
            self.batches.stats,
            {name: each.numpy() for name, each in named.items()},
        )

    def save_progress(self, path: Path) -> None:
        """Write the state from which `load_progress` continues, which the first rank does. It is
        whole: another number of ranks continues from it."""
        state = {
            "step": self.step,
            "run": self.run(),
            "made_by": self.made_by(),
            "seconds": self.seconds,
            "network": _whole(self.network.state_dict()),
            "average": _whole(self.average),
            "optimizer": _whole(self.optimizer.state_dict()),
        }
        if self.ranks.rank:
            return
        partial = path.with_suffix(".partial")
        torch.save(state, partial)
        partial.replace(path)

    def made_by(self) -> str:
        """What takes the steps. Another one may sum in another order."""
        return f"{self.device.type}, {self.ranks.count} processes"

    def run(self) -> dict[str, str]:
        """What has to be the same for a run to be resumed: seed, data, and every key of the
        config."""
        settings = msgspec.to_builtins(self.config)
        parts = {
            f"{part}.{key}": value
            for part in ("network", "lora")
            for key, value in settings.pop(part).items()
        }
        made_of = {
            "seed": self.batches.seed,
            "data": self.batches.identity,
            **settings,
            **parts,
        }
        return {key: json.dumps(value) for key, value in made_of.items()}

    def load_progress(self, path: Path) -> str:
        """Continue from a file of `save_progress`; return its `made_by`. Raises ValueError for that
        of a run with another seed, config or data, which names each difference."""
        saved = torch.load(path, weights_only=True, map_location="cpu")
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
        own = self.network.state_dict()
        self.network.load_state_dict(
            {name: sharded_as(value, own[name]) for name, value in saved["network"].items()}
        )
        self.average = {
            name: sharded_as(saved["average"][name], each) for name, each in self.average.items()
        }
        self.optimizer.load_state_dict(self._sharded(saved["optimizer"]))
        self.step, self.seconds = saved["step"], saved.get("seconds", 0.0)
        return str(saved["made_by"])

    def _sharded(self, optimizer: dict[str, Any]) -> dict[str, Any]:
        """An optimizer's state with its moments distributed as its parameters are."""
        parameters = [each for group in self.optimizer.param_groups for each in group["params"]]
        state = {
            number: {
                key: value if key == "step" else sharded_as(value, parameters[number])
                for key, value in of.items()
            }
            for number, of in optimizer["state"].items()
        }
        return {**optimizer, "state": state}

    def _rate(self) -> float:
        config = self.config
        warm = min(1.0, (self.step + 1) / config.warmup_steps)
        done = min(1.0, self.step / (config.decay_steps or config.steps))
        falling = 0.5 + 0.5 * math.cos(math.pi * done)
        return config.rate * warm * (config.final_rate + (1 - config.final_rate) * falling)

    @torch.no_grad()
    def _average(self) -> None:
        # Without this, the average of the first steps would be mostly the random initial weights.
        keep = min(self.config.ema, (1 + self.step) / (10 + self.step))
        torch._foreach_lerp_(list(self.average.values()), list(self.trained.values()), 1.0 - keep)


def _groups(parameters: list[nn.Parameter], decay: float) -> list[dict[str, Any]]:
    """The parameter groups of the optimizer: weight decay for matrices only."""
    return [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]


def _whole(state: Any) -> Any:
    """`state` with its tensors whole, in the memory of the CPU."""
    return tree_map(lambda leaf: whole(leaf) if isinstance(leaf, Tensor) else leaf, state)
