"""Example observations for the warm-up and the statefulness probe."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ...policy.base import Observation, PolicySpec
from ...policy.processing import check_observation

VARIATION = 1e-3
"""Standard deviation of the noise on a given example's state, in the robot's units."""


@dataclass(frozen=True)
class Examples:
    """Valid observations, a function of the seed.

    They are synthetic and have `task`, or are variations of `given`: its task, its images shifted
    by some pixels, its state with noise of `VARIATION`. Raises ValueError when `given` does not
    fit the spec.
    """

    spec: PolicySpec
    task: str = ""
    given: Observation | None = None

    def __post_init__(self) -> None:
        if self.given is not None:
            try:
                check_observation(self.spec, self.given)
            except ValueError as error:
                raise ValueError(
                    f"the example observation does not fit the spec: {error}"
                ) from error

    def full(self, seed: int) -> Observation:
        """With a prefix, where the policy takes one."""
        synthetic = self.spec.example(seed, self.task)
        given = self.given
        if given is None:
            return synthetic
        moved = np.random.default_rng(seed).standard_normal(given.state.shape, np.float32)
        own = given.prefix is not None or self.spec.prefix == "none"
        return replace(
            given
            if own
            else replace(given, prefix=synthetic.prefix, prefix_robot=synthetic.prefix_robot),
            state=given.state + np.float32(VARIATION) * moved,
            images={name: np.roll(i, seed % 7, axis=1) for name, i in given.images.items()},
            delay_steps=given.delay_steps if own else synthetic.delay_steps,
            seed=seed,
        )

    def plain(self, seed: int) -> Observation:
        """Without a prefix."""
        return replace(self.full(seed), prefix=None, prefix_robot=None, delay_steps=0)
