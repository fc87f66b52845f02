"""How each family of LeRobot's policies is served. By the library's modeling_*.py, 0.6.1."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

Mode = Literal["shared", "exclusive"]


class Family(NamedTuple):
    """`mode` is exclusive where the policy keeps a queue of observations; `steps` is the field of
    its configuration with the length of what `predict_action_chunk` returns; `noise` says whether
    that takes the noise from which it begins."""

    mode: Mode
    steps: str = "chunk_size"
    noise: bool = False


FAMILIES = {
    "act": Family("shared"),
    "pi0": Family("shared", noise=True),
    "pi05": Family("shared", noise=True),
    "pi0_fast": Family("shared"),
    "smolvla": Family("shared", noise=True),
    "diffusion": Family("exclusive", "n_action_steps"),
    "multi_task_dit": Family("exclusive", "n_action_steps"),
    "vqbet": Family("exclusive", "action_chunk_size"),
    "tdmpc": Family("exclusive", "horizon"),
}


def family_of(config: dict[str, Any]) -> Family:
    """The family of a checkpoint with this config.json; one that is not known is exclusive."""
    known = FAMILIES.get(config["type"])
    if known is not None:
        return known
    steps = "chunk_size" if "chunk_size" in config else "n_action_steps"
    return Family("exclusive", steps)
