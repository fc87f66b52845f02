"""`--check` of π0 and π0.5 takes what a training takes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from holdfast.policy.pi0.architecture import FlowFamily
from holdfast.tests.peers.small_pi_checkpoint import write_action_tokenizer
from holdfast.tests.tools.training.small_pi_trainings import tiny
from holdfast.tools.training.pi_config import PiConfig, sized
from holdfast.tools.training.pi_presets import PI_CONFIGS
from holdfast.tools.training.training_check import check, fake_spec, ready_for_check


def checked(config: PiConfig, values: int = 6) -> float:
    """The loss of the check of a robot with so many states and actions."""
    with ready_for_check(config) as ready:
        names = tuple(f"v{number}" for number in range(values))
        spec = msgspec.structs.replace(fake_spec(ready), state_names=names, action_names=names)
        return check(ready, spec, 0)


@pytest.mark.parametrize(
    "changes",
    [
        {"insulate": True},
        {"insulate": True, "action_tokenizer": "fast"},
        {"base_weights": ("vision.*",)},
    ],
    ids=["insulated", "words", "base-weights"],
)
def test_a_published_network_is_checked_with_every_key_of_a_base(
    changes: dict[str, Any], tmp_path: Path
) -> None:
    """The small one that stands for the base begins without them."""
    if "action_tokenizer" in changes:
        changes = {**changes, "action_tokenizer": str(write_action_tokenizer(tmp_path / "fast"))}
    config = msgspec.structs.replace(PI_CONFIGS["pi05"], recompute=False, **changes)
    assert np.isfinite(checked(config))


@pytest.mark.parametrize("kind", ["pi0", "pi05"])
def test_a_robot_of_as_many_values_as_the_published_network_has_is_checked(
    kind: FlowFamily,
) -> None:
    """32 states and actions, whose prompt of bytes is longer than that of words."""
    assert np.isfinite(checked(PI_CONFIGS[kind], values=32))
    with pytest.raises(ValueError, match=r"network\.states is 32, the robot has 33"):
        checked(PI_CONFIGS[kind], values=33)


@pytest.mark.parametrize("kind", ["pi0", "pi05"])
def test_a_robot_without_a_state_is_trained_and_served(kind: FlowFamily) -> None:
    """There is nothing to normalize, and the text of π0.5 has no number."""
    config = sized(tiny(kind))
    spec = msgspec.structs.replace(fake_spec(config), state_names=())
    assert np.isfinite(check(config, spec, 0))
