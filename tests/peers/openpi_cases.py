"""What openpi's own files and ours are compared on: sizes, statistics and requests, the same in
`openpi_fixtures_program` and in the tests of what it wrote."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from holdfast.policy.normalize import Stats
from holdfast.policy.pi0.architecture import FlowFamily
from holdfast.tests.peers.key_weights import inputs_of
from holdfast.tests.peers.small_pi0 import TRAINED

FAMILIES: tuple[FlowFamily, ...] = ("pi0", "pi05")

STATES, ACTIONS = 8, 7
"""Of LIBERO's robot."""

SERVED: dict[str, tuple[FlowFamily, bool]] = {
    "pi0": ("pi0", False),
    "pi05": ("pi05", True),
    "pi05_without_state": ("pi05", False),
}
"""Whole policies: the family, and whether it reads the state in its text."""


def stats_of(name: str, size: int) -> Stats:
    """Statistics that differ by entry. The last one hardly varied: it shows which eps was added,
    and where."""
    made = inputs_of({f"{name}.mean": (size,), f"{name}.std": (size,)})
    mean, std = made[f"{name}.mean"] * 0.3, np.abs(made[f"{name}.std"]) * 0.2 + 0.1
    mean[-1], std[-1] = 0.0, 1e-4
    columns = (mean, std, mean - 2 * std, mean + 1.5 * std)
    return Stats(*(tuple(float(x) for x in column) for column in columns))


STATS = {"state": stats_of("state", STATES), "actions": stats_of("actions", ACTIONS)}


class LiberoRequest(NamedTuple):
    """What LIBERO's client sends, and the seed of the noise."""

    image: NDArray[np.uint8]
    wrist_image: NDArray[np.uint8]
    state: NDArray[np.float32]
    prompt: str
    seed: int


PROMPTS = ("Pick the red_parcel", " open the drawer\n", "pick")


def requests() -> list[LiberoRequest]:
    """Images of another shape than the model's, and states around the mean."""
    made: list[LiberoRequest] = []
    for seed, prompt in enumerate(PROMPTS):
        rng = np.random.default_rng(seed)
        image, wrist = (rng.integers(0, 256, (32, 48, 3), np.uint8) for _ in range(2))
        mean, std = np.array(STATS["state"].mean), np.array(STATS["state"].std)
        state = (mean + std * rng.standard_normal(STATES)).astype(np.float32)
        made.append(LiberoRequest(image, wrist, state, prompt, seed))
    return made


def loss_inputs(family: FlowFamily) -> dict[str, NDArray[Any]]:
    """The actions and times of a training step."""
    sizes = TRAINED[family]
    made: dict[str, NDArray[Any]] = {**inputs_of({"actions": (3, sizes.steps, sizes.actions)})}
    made["time"] = np.array([0.05, 0.5, 0.95], np.float32)
    return made
