"""The configurations of π0 and π0.5 against openpi's, by the numbers of its commit 15a9616."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch

from holdfast.tests.tools.training.small_pi_trainings import NETWORK, pi_batches, pi_training, tiny
from holdfast.tools.training.low_rank import LowRankLinear
from holdfast.tools.training.pi_config import sized
from holdfast.tools.training.pi_presets import PI_CONFIGS
from holdfast.tools.training.trained_policy import trained_policy

SHORTER = [
    *("pi0_aloha_pen_uncap", "pi05_aloha_pen_uncap", "pi0_aloha_sim"),
    "pi05_droid_finetune",
]
"""Of 20,000 steps, with a cosine of 30,000."""


def test_the_configs_are_those_of_openpi() -> None:
    """Those of `pi05_libero`, the adapters of the low-memory one, the horizons of DROID."""
    libero = PI_CONFIGS["pi05_libero"]
    assert (libero.batch, libero.rate, libero.warmup_steps, libero.ema) == (
        256,
        5e-5,
        10_000,
        0.999,
    )
    assert libero.network == {"mapping": "libero", "discrete_state_input": False}
    assert (libero.state_mode, PI_CONFIGS["pi0_libero"].state_mode) == ("quantile", "zscore")
    low = PI_CONFIGS["pi0_libero_low_mem_finetune"]
    assert (low.lora.rank, low.ema, low.freeze[0]) == (16, 0.0, "words.*")
    assert [PI_CONFIGS[f"{kind}_droid"].chunk_size for kind in ("pi0", "pi05")] == [10, 15]


@pytest.mark.parametrize("name", sorted(PI_CONFIGS))
def test_the_optimizer_is_openpis(name: str) -> None:
    """Its second beta, and a cosine of 30,000 steps also where fewer are taken."""
    config = PI_CONFIGS[name]
    if name.endswith("_small"):
        return
    assert config.beta2 == 0.95
    assert (config.decay_steps or config.steps) == 30_000
    assert (config.steps == 20_000) == (name in SHORTER)


def test_the_rate_of_a_shorter_training_is_that_of_the_longer_one() -> None:
    """At every step that it has, and its optimizer has the config's second beta."""
    short = pi_training(tiny(steps=20, decay_steps=30, beta2=0.9))
    long = pi_training(tiny(steps=30))
    assert short.optimizer.defaults["betas"] == (0.9, 0.9)
    rates = []
    for trainer in (short, long):
        steps = []
        for step in range(20):
            trainer.step = step
            steps.append(trainer._rate())
        rates.append(steps)
    assert rates[0] == rates[1] and rates[0][-1] > 0.2 * short.config.rate


def test_the_action_expert_of_the_low_memory_config_has_adapters_of_rank_32(
    tmp_path: Any,
) -> None:
    """Those of the language model have 16; both are multiplied by 1."""
    pi_training(tiny("pi0")).save(tmp_path)
    low = PI_CONFIGS["pi0_libero_low_mem_finetune"]
    config = tiny("pi0", base=str(tmp_path), lora=low.lora, freeze=low.freeze, rate=0.02)
    trainer = pi_training(config)
    ranks: dict[str, set[tuple[int, float]]] = {"language": set(), "expert": set()}
    for name, module in trainer.network.named_modules():
        if isinstance(module, LowRankLinear):
            ranks[name.partition(".")[0]].add((len(module.lora_down), module.scale))
    assert ranks == {"language": {(16, 1.0)}, "expert": {(32, 1.0)}}
    for _ in range(2):
        trainer.advance()
    trainer.save(tmp_path / "run")
    assert torch.isfinite(torch.tensor(trainer.advance()["loss"]))


@pytest.mark.parametrize("name", ["pi0_aloha_pen_uncap", "pi05_aloha_pen_uncap", "pi0_aloha_sim"])
def test_a_config_of_openpi_without_the_datasets_tasks_has_none_here(name: str) -> None:
    """Its one instruction is in the network's settings, where the service finds it."""
    config = PI_CONFIGS[name]
    assert not config.prompt_from_task and config.network["prompt"]


def test_a_training_on_one_instruction_does_not_read_the_frames_tasks(tmp_path: Path) -> None:
    """Every prompt begins with it, the checkpoint names it, a training without one is refused."""
    config = tiny(network={**NETWORK, "prompt": "uncap the pen"}, prompt_from_task=False)
    batches = pi_batches(trainer := pi_training(config))
    trainer.save(tmp_path)
    assert trained_policy("pi05", tmp_path).spec.only_task == "uncap the pen"
    begins = {bytes(row[1:20].tolist()) for row in batches.draw(0).tokens.to(torch.uint8)}
    assert len(begins) == 1
    own = pi_batches(pi_training(tiny(network={**NETWORK, "prompt": "uncap the pen"})))
    assert not own.description.spec.only_task
    assert {bytes(row[1:20].tolist()) for row in own.draw(0).tokens.to(torch.uint8)} != begins
    with pytest.raises(ValueError, match="prompt_from_task=false without an instruction"):
        sized(tiny(prompt_from_task=False))


@pytest.mark.parametrize("given", [{"image_width": 32}, {"image_height": 32}])
def test_one_side_of_an_image_alone_is_refused(given: dict[str, int]) -> None:
    """The other would be guessed, or the one ignored."""
    with pytest.raises(ValueError, match=r"image_width is .* and image_height .*: give both"):
        sized(msgspec.structs.replace(tiny(), **given))
