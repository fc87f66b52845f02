"""The keys of a training config from the command line."""

from __future__ import annotations

from typing import Any

import pytest

from holdfast.tests.tools.training.small_trainings import NETWORK, small
from holdfast.tools.training.overrides import override
from holdfast.tools.training.presets import CONFIGS
from holdfast.tools.training.training_config import LoraConfig


@pytest.mark.parametrize(
    ("setting", "key", "value"),
    [
        ("steps=200", "steps", 200),
        ("rate=3e-4", "rate", 3e-4),
        ("final_rate=0", "final_rate", 0.0),
        ("limit_actions=false", "limit_actions", False),
        ("dtype=bfloat16", "dtype", "bfloat16"),
        ("cameras=top, wrist", "cameras", ("top", "wrist")),
        ("base_weights=*,!encoder.eyes.*", "base_weights", ("*", "!encoder.eyes.*")),
        ("relative_actions=", "relative_actions", ()),
        ("base=runs/a=b", "base", "runs/a=b"),
    ],
)
def test_a_key_is_changed_to_a_value_of_its_type(setting: str, key: str, value: Any) -> None:
    """The value has the type of the key, and all other keys stay."""
    config = small()
    changed = override(config, [setting])
    found = getattr(changed, key)
    assert found == value and type(found) is type(value)
    others = [name for name in config.__struct_fields__ if name != key]
    assert [getattr(changed, o) for o in others] == [getattr(config, o) for o in others]


def test_a_key_of_the_network_is_changed_and_the_rest_of_it_stays() -> None:
    """The config that was given is not altered; of two settings of a key the last counts."""
    config = small()
    changed = override(config, ["network.width=64", "network.euler_steps=3", "network.width=32"])
    assert changed.network == {**NETWORK, "width": 32, "euler_steps": 3}
    assert config.network == NETWORK


def test_a_key_of_lora_is_changed_and_the_rest_of_it_stays() -> None:
    """Patterns of modules are a list; the config that was given is not altered."""
    config = small()
    changed = override(config, ["lora.rank=8", "lora.modules=denoiser.blocks.*,!*.modulate"])
    assert changed.lora == LoraConfig(rank=8, modules=("denoiser.blocks.*", "!*.modulate"))
    assert config.lora == LoraConfig()


@pytest.mark.parametrize(
    ("setting", "error"),
    [
        ("steps", "steps: expected KEY=VALUE, as steps=200"),
        ("steps=many", "steps: found 'many', expected a whole number, 1 or more"),
        ("steps=0", "steps: found '0', expected a whole number, 1 or more"),
        ("final_rate=2", "final_rate: found '2', expected a number, 0 to 1"),
        ("dtype=float16", "dtype: found 'float16', expected float32 or bfloat16"),
        ("limit_actions=perhaps", "limit_actions: found 'perhaps', expected true or false"),
        ("setps=3", "no key setps; did you mean steps? There are: kind, steps, "),
        ("zzz=3", "no key zzz. There are: kind, steps, "),
        ("network=3", "no key network"),
        ("network.widht=3", "no key network.widht; did you mean network.width? There are: "),
        ("widht=3", "no key widht; did you mean network.width? There are: "),
        ("lora.rang=8", "no key lora.rang; did you mean lora.rank? There are: "),
        ("lora.rank=-1", "lora.rank: found '-1', expected a whole number, 0 or more"),
        ("lora=8", "no key lora"),
        ("network.width=wide", "network.width: found 'wide', expected a whole number"),
    ],
)
def test_a_wrong_setting_is_refused_with_what_is_expected(setting: str, error: str) -> None:
    """The error names the key, what was found and what is possible."""
    with pytest.raises(ValueError, match=r".") as caught:
        override(small(), [setting])
    assert str(caught.value).startswith(error)


def test_a_key_of_the_other_kind_of_network_is_refused() -> None:
    """ACT has no steps of integration; the simulator's configs have shards."""
    with pytest.raises(ValueError, match=r"no key network\.euler_steps"):
        override(CONFIGS["act"], ["network.euler_steps=3"])
    with pytest.raises(ValueError, match="no key shards"):
        override(CONFIGS["act"], ["shards=3"])
    assert getattr(override(CONFIGS["conveyor-act"], ["shards=3"]), "shards", 0) == 3
