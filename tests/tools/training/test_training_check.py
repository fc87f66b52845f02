"""`--check` of π0 and π0.5 takes what a training takes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from holdfast.errors import PolicyError
from holdfast.policy.pi0.architecture import FlowFamily
from holdfast.tests.peers.small_pi_checkpoint import (
    write_action_tokenizer,
    write_openpi_checkpoint,
)
from holdfast.tests.tools.training.small_pi_trainings import tiny
from holdfast.tools.training import training_check
from holdfast.tools.training.pi_config import PiConfig, sized
from holdfast.tools.training.pi_presets import PI_CONFIGS
from holdfast.tools.training.trainer import Trainer
from holdfast.tools.training.training_check import (
    check,
    check_beginning,
    fake_spec,
    ready_for_check,
)
from holdfast.tools.training.training_config import LoraConfig


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


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"base_weights": ("*", "!head.*")},
        {"lora": LoraConfig(rank=2), "freeze": ("words.*", "language.*", "expert.*")},
    ],
    ids=["whole", "part", "adapted"],
)
def test_a_base_is_checked_before_the_training_without_its_values(
    changes: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No weight of a published base is in memory then; a file that is cut short is refused."""
    folder = write_openpi_checkpoint(tmp_path / "openpi", "pi05")
    config = sized(tiny(base=str(folder), tokenizer="", network={}, **changes))
    begun: list[Trainer] = []

    class Kept(Trainer):
        def __init__(self, *given: Any) -> None:
            super().__init__(*given)
            begun.append(self)

    monkeypatch.setattr(training_check, "Trainer", Kept)
    check_beginning(config, fake_spec(config), ("pick",))
    (trainer,) = begun
    assert all(each.is_meta for each in trainer.network.state_dict().values())
    assert all(each.is_meta for each in trainer.average.values())
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(PolicyError, match="it is damaged, copy it again"):
        check_beginning(config, fake_spec(config), ("pick",))
