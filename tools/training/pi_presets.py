"""The configurations of π0 and π0.5, by openpi's names where openpi has them.

Source: openpi 15a9616, `src/openpi/training/config.py`, `src/openpi/training/optimizer.py`,
`src/openpi/models/gemma.py`. Not taken over: the addresses of its data and weights, and what
docs/pi0.md lists.
"""

from __future__ import annotations

from typing import Any

from ...policy.pi0.architecture import FlowFamily
from .pi_config import PiConfig
from .training_config import LoraConfig


def _of(kind: FlowFamily, **changes: Any) -> PiConfig:
    mode = "zscore" if kind == "pi0" else "quantile"
    values: dict[str, Any] = {"state_mode": mode, "action_mode": mode, **changes}
    return PiConfig(kind=kind, **values)


_SMALL: dict[str, Any] = {
    "network": {
        "vision": {"width": 64, "layers": 2, "heads": 4, "mlp": 128, "pixels": 64, "patch": 8},
        "language": {"width": 96, "layers": 3, "heads": 4, "head": 24, "mlp": 192},
        "expert": {"width": 96, "layers": 3, "heads": 4, "head": 24, "mlp": 192},
        "words": 512,
        "actions": 16,
        "states": 16,
        "prompt_tokens": 160,
    },
    "tokenizer": "bytes",
    "steps": 5000,
    "chunk_size": 24,
    "max_prefix_steps": 8,
    "looks": 4,
    "rate": 1e-3,
    "final_rate": 0.02,
    "warmup_steps": 100,
    "beta2": 0.98,
    "weight_decay": 1e-4,
    "ema": 0.998,
    "brightness": 0.15,
    "augment": False,
    "recompute": False,
}
"""From random weights, for tests of a pipeline on the CPU."""

_LOW_MEMORY: dict[str, Any] = {
    "lora": LoraConfig(rank=16, alpha=16.0, ranks=("expert.*:32",)),
    "freeze": ("words.*", "language.*", "expert.*"),
    "ema": 0.0,
}
_TROSSEN: dict[str, Any] = {"statistics": "base", "asset": "trossen"}
_ALOHA: dict[str, Any] = {"network": {"mapping": "aloha"}}
_LIBERO_DELTA: dict[str, Any] = {
    "network": {"mapping": "holdfast.policy.steps.libero:libero_delta"},
}
_SHORT: dict[str, Any] = {"steps": 20_000, "decay_steps": 30_000}
"""openpi's cosine has its own length, which its shorter configurations leave as it is."""
_PEN: dict[str, Any] = {
    "network": {"mapping": "aloha", "prompt": "uncap the pen"},
    "prompt_from_task": False,
    **_SHORT,
    **_TROSSEN,
}

PI_CONFIGS: dict[str, PiConfig] = {
    "pi0": _of("pi0"),
    "pi05": _of("pi05"),
    "pi0_small": _of("pi0", **_SMALL),
    "pi05_small": _of("pi05", **_SMALL),
    "pi0_aloha": _of("pi0", **_ALOHA, **_TROSSEN),
    "pi05_aloha": _of("pi05", **_ALOHA, **_TROSSEN),
    "pi0_aloha_pen_uncap": _of("pi0", **_PEN),
    "pi05_aloha_pen_uncap": _of("pi05", **_PEN, batch=64),
    "pi0_aloha_sim": _of(
        "pi0",
        network={
            "mapping": "holdfast.policy.steps.aloha:aloha_absolute",
            "prompt": "Transfer cube",
        },
        prompt_from_task=False,
        **_SHORT,
    ),
    "pi0_droid": _of("pi0", network={"mapping": "droid"}, chunk_size=10),
    "pi05_droid": _of("pi05", network={"mapping": "droid"}, chunk_size=15),
    "pi05_droid_finetune": _of(
        "pi05",
        network={"mapping": "droid"},
        chunk_size=16,
        **_SHORT,
        statistics="base",
        asset="droid",
    ),
    "pi0_libero": _of("pi0", **_LIBERO_DELTA),
    "pi0_libero_low_mem_finetune": _of("pi0", **_LIBERO_DELTA, **_LOW_MEMORY),
    "pi05_libero": _of(
        "pi05",
        network={"mapping": "libero", "discrete_state_input": False},
        chunk_size=10,
        batch=256,
        rate=5e-5,
        final_rate=1.0,
        warmup_steps=10_000,
        ema=0.999,
    ),
}


def small_network() -> dict[str, Any]:
    """The `network` of the small configs."""
    return dict(_SMALL["network"])
