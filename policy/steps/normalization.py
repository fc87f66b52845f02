"""`NormalizeKeys` and `UnnormalizeKeys`: values to a model's scale and back, by the formulas of
openpi or of LeRobot.

x: a value, µ σ: mean and deviation, a b: the quantiles 1 % and 99 %, e: `eps`.

| | openpi (e = 1e-6) | LeRobot (e = 1e-8) |
|---|---|---|
| z-score | (x - µ) / (σ + e) | (x - µ) / (σ + e) |
| back | x (σ + e) + µ | x σ + µ |
| quantile | (x - a) / (b - a + e) 2 - 1 | 2 (x - a) / (b - a) - 1; e for b - a where that is 0 |
| back | (x + 1) / 2 (b - a + e) + a | (x + 1) (b - a) / 2 + a |

None of them clips. openpi computes with the statistics' float64, LeRobot in the values' own type.
Values may be fewer than the statistics before the model, and more after it (it pads): those have
mean 0 and deviation 1, or stay as they are.

Sources: openpi 15a9616, `src/openpi/transforms.py`, `Normalize` and `Unnormalize`; lerobot 0.6.1,
`processor/normalize_processor.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ...errors import StepError
from ..normalize import Mode, Stats
from .data_step import Data
from .key_paths import array_at, flattened, nested, unfit
from .padding import pad_last

Array = NDArray[Any]

Formula = Literal["openpi", "lerobot"]
EPS: dict[Formula, float] = {"openpi": 1e-6, "lerobot": 1e-8}


@dataclass(frozen=True)
class _Scale:
    """What both directions have; `eps` None is the formula's own."""

    stats: Mapping[str, Stats]
    mode: Mode = "zscore"
    formula: Formula = "openpi"
    eps: float | None = None

    def __post_init__(self) -> None:
        """Raises StepError for a mode that the statistics are not for."""
        for key, stats in self.stats.items():
            low, high = self._of(stats)
            if not low or len(low) != len(high):
                wanted = "q01 and q99" if self.mode == "quantile" else "mean and std"
                raise StepError(
                    f"{type(self).__name__}: the statistics of {key!r} have {len(low)} and "
                    f"{len(high)} values of {wanted}, which {self.mode} needs: compute them again, "
                    "or use the other mode"
                )

    @property
    def e(self) -> float:
        return EPS[self.formula] if self.eps is None else self.eps

    def _of(self, stats: Stats) -> tuple[tuple[float, ...], tuple[float, ...]]:
        return (stats.q01, stats.q99) if self.mode == "quantile" else (stats.mean, stats.std)

    def _arrays(self, key: str, value: Array) -> tuple[Array, Array]:
        """The two statistics of a key, in the type that the formula computes in."""
        low, high = (np.asarray(each) for each in self._of(self.stats[key]))
        if self.formula == "openpi":
            return low, high
        kind = value.dtype if value.dtype.kind == "f" else np.float32
        return low.astype(kind), high.astype(kind)

    def _width(self, low: Array, high: Array) -> Array:
        """What quantiles are divided by."""
        width: Array = high - low
        if self.formula == "openpi":
            return width + self.e
        return np.where(width == 0, np.asarray(self.e, width.dtype), width)


@dataclass(frozen=True)
class NormalizeKeys(_Scale):
    """The values of those keys that `stats` are for to the model's scale. A key that the data lack
    is an error only if `strict`: a robot's observation has no actions."""

    strict: bool = False

    def __call__(self, data: Data) -> Data:
        flat = flattened(data)
        for key in self.stats:
            if key in flat or self.strict:
                flat[key] = self._normalized(key, array_at(data, key, self))
        return nested(flat)

    def _normalized(self, key: str, value: Array) -> Array:
        low, high = self._arrays(key, value)
        if value.ndim == 0 or value.shape[-1] > len(low):
            raise unfit(self, key, value, f"at most the {len(low)} values of the statistics")
        low, high = low[: value.shape[-1]], high[: value.shape[-1]]
        if self.mode == "zscore":
            made: Array = (value - low) / (high + self.e)
        elif self.formula == "openpi":
            made = (value - low) / self._width(low, high) * 2.0 - 1.0
        else:
            made = 2.0 * (value - low) / self._width(low, high) - 1.0
        return made


@dataclass(frozen=True)
class UnnormalizeKeys(_Scale):
    """The inverse of `NormalizeKeys`, of all keys that `stats` are for."""

    def __call__(self, data: Data) -> Data:
        flat = flattened(data)
        for key in self.stats:
            flat[key] = self._unnormalized(key, array_at(data, key, self))
        return nested(flat)

    def _unnormalized(self, key: str, value: Array) -> Array:
        low, high = self._arrays(key, value)
        size = len(low)
        if value.ndim == 0 or value.shape[-1] < size:
            raise unfit(self, key, value, f"at least the {size} values of the statistics")
        if self.mode == "zscore":
            scale = pad_last(high, value.shape[-1], 1.0)
            if self.formula == "openpi":
                scale = scale + self.e
            whole: Array = value * scale + pad_last(low, value.shape[-1])
            return whole
        known, width = value[..., :size], self._width(low, high)
        if self.formula == "openpi":
            back = (known + 1.0) / 2.0 * width + low
        else:
            back = (known + 1.0) * width / 2.0 + low
        return np.concatenate([back, value[..., size:]], axis=-1)
