"""How each family of LeRobot's policies is served: by the library's modeling_*.py, 0.6.1.

Whether a family was tried is in docs/lerobot-policies.md.
"""

from __future__ import annotations

import math
from typing import Any, Literal, NamedTuple

Mode = Literal["shared", "exclusive"]
Noise = Literal["none", "given", "drawn"]


class PolicyFamily(NamedTuple):
    """What the adapter has to know of a family.

    `mode` is exclusive where the policy keeps state. One with `queued` keeps queues, and is asked
    through its own `select_action`; where the queue holds the last observations, as many as the
    field `history` of its configuration says, each of them comes with every request, and the policy
    is shared. The product of the fields `steps` of its configuration is
    the length of a chunk. `noise`: the policy uses none, takes it as an argument, or draws it
    itself, so that each observation of a batch is predicted alone. `guided`: it continues a prefix
    (real-time chunking). `steps_first`: chunks are [steps, batch, actions].
    """

    mode: Mode
    steps: tuple[str, ...] = ("chunk_size",)
    noise: Noise = "drawn"
    guided: bool = False
    queued: bool = False
    history: str = ""
    steps_first: bool = False

    def chunk_size(self, config: dict[str, Any]) -> int:
        """The length of what `predict_action_chunk` returns. Raises KeyError, TypeError,
        ValueError."""
        if config.get("use_mpc") is False:  # TD-MPC that does not plan gives the next action only
            return 1
        return math.prod(int(config[name]) for name in self.steps)


FAMILIES = {
    "act": PolicyFamily("shared", noise="none"),
    "pi0": PolicyFamily("shared", noise="given", guided=True),
    "pi05": PolicyFamily("shared", noise="given", guided=True),
    "pi0_fast": PolicyFamily("shared", ("n_action_steps",), noise="none"),
    "smolvla": PolicyFamily("shared", noise="given", guided=True),
    "xvla": PolicyFamily("shared"),
    "wall_x": PolicyFamily("shared"),
    "vla_jepa": PolicyFamily("shared"),
    "eo1": PolicyFamily("shared"),
    "evo1": PolicyFamily("shared"),
    "molmoact2": PolicyFamily("shared"),
    "groot": PolicyFamily("shared", ("n_action_steps",)),
    "fastwam": PolicyFamily("exclusive", ("action_horizon",), queued=True),
    "lingbot_va": PolicyFamily("exclusive", ("frame_chunk_size", "action_per_frame"), queued=True),
    "diffusion": PolicyFamily("shared", ("n_action_steps",), queued=True, history="n_obs_steps"),
    "multi_task_dit": PolicyFamily(
        "shared", ("n_action_steps",), queued=True, history="n_obs_steps"
    ),
    "vqbet": PolicyFamily("shared", ("action_chunk_size",), queued=True, history="n_obs_steps"),
    "tdmpc": PolicyFamily("exclusive", ("horizon",), queued=True, steps_first=True),
}

CHUNKLESS = {
    "gaussian_actor": "gives single actions",
    "sac": "gives single actions",
    "sarm": "is a reward model",
    "reward_classifier": "is a reward model",
}
"""Families without chunks, and what they are."""


def family_of(config: dict[str, Any]) -> PolicyFamily:
    """The family of a checkpoint with this config.json; one that is not known is exclusive."""
    known = FAMILIES.get(config["type"])
    if known is not None:
        # pi0-FAST chooses its tokens at random then.
        return known._replace(noise="drawn") if config.get("temperature") else known
    steps = "chunk_size" if "chunk_size" in config else "n_action_steps"
    return PolicyFamily("exclusive", (steps,), queued=True)
