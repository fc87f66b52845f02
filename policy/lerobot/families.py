"""How each family of LeRobot's policies is served. By the library's modeling_*.py, 0.6.1."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

Mode = Literal["shared", "exclusive"]


class PolicyFamily(NamedTuple):
    """`mode` is exclusive where the policy keeps a queue of observations; `steps` is the field of
    its configuration with the length of what `predict_action_chunk` returns; `noise` says whether
    that takes the noise from which it begins."""

    mode: Mode
    steps: str = "chunk_size"
    noise: bool = False


FAMILIES = {
    "act": PolicyFamily("shared"),
    "pi0": PolicyFamily("shared", noise=True),
    "pi05": PolicyFamily("shared", noise=True),
    "pi0_fast": PolicyFamily("shared"),
    "smolvla": PolicyFamily("shared", noise=True),
    "diffusion": PolicyFamily("exclusive", "n_action_steps"),
    "multi_task_dit": PolicyFamily("exclusive", "n_action_steps"),
    "vqbet": PolicyFamily("exclusive", "action_chunk_size"),
    "tdmpc": PolicyFamily("exclusive", "horizon"),
}


def family_of(config: dict[str, Any]) -> PolicyFamily:
    """The family of a checkpoint with this config.json; one that is not known is exclusive."""
    known = FAMILIES.get(config["type"])
    if known is not None:
        return known
    steps = "chunk_size" if "chunk_size" in config else "n_action_steps"
    return PolicyFamily("exclusive", steps)
