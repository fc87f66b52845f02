"""LeRobot's own π0 or π0.5 with random weights, of sizes that the library has no names for.

    lerobot_pi0.py FAMILY SIZE DEVICE

Each line of input, `VIEWS EULER_STEPS BATCH`, is answered by the milliseconds of one batch, from
inputs on the device to actions on the host. SIZE is `small` or `published`.
"""

from __future__ import annotations

import sys
import time
from functools import cache, partial
from typing import Any
from unittest import mock

import msgspec
import torch
from lerobot.configs.types import FeatureType, PolicyFeature
from lerobot.policies.pi0 import modeling_pi0
from lerobot.policies.pi0.configuration_pi0 import PI0Config
from lerobot.policies.pi05 import modeling_pi05
from lerobot.policies.pi05.configuration_pi05 import PI05Config

from holdfast.policy.pi0.architecture import Architecture, Family
from holdfast.policy.pi0.checkpoint_layout import PROMPT_TOKENS
from holdfast.tools.bench.pi_sizes import WORDS, small

from . import line_server
from .resized_classes import ResizedClasses, gemma_of

MODULES: dict[str, tuple[Any, Any, str]] = {
    "pi0": (modeling_pi0, PI0Config, "PI0Policy"),
    "pi05": (modeling_pi05, PI05Config, "PI05Policy"),
}


def policy_of(sizes: Architecture, actions: int) -> Any:
    """The policy, for whose small vision tower and vocabulary the library has no configuration."""
    module, config_class, name = MODULES[sizes.family]
    resized = ResizedClasses(
        sizes, module.PaliGemmaForConditionalGenerationWithPiGemma, module.PiGemmaForCausalLM
    )

    config = config_class(
        chunk_size=sizes.steps,
        n_action_steps=sizes.steps,
        image_resolution=(sizes.vision.pixels, sizes.vision.pixels),
        device="cpu",
        dtype="float32",
        input_features={"observation.state": PolicyFeature(FeatureType.STATE, (7,))},
        output_features={"action": PolicyFeature(FeatureType.ACTION, (actions,))},
    )
    with (
        mock.patch.object(module, "get_gemma_config", partial(gemma_of, module.GemmaConfig, sizes)),
        mock.patch.object(module, "PaliGemmaForConditionalGenerationWithPiGemma", resized.whole),
        mock.patch.object(module, "PiGemmaForCausalLM", resized.expert),
    ):
        return getattr(module, name)(config)


class Timed:
    """The model of a size on a device, timed by lines of "VIEWS EULER_STEPS BATCH"."""

    def __init__(self, family: Family, size: str, device: str) -> None:
        torch.set_num_threads(1)  # as replicas do
        self._sizes = small(family) if size == "small" else Architecture(family=family)
        self._device = torch.device(device)
        dtype = torch.float32 if size == "small" else torch.bfloat16
        policy = policy_of(self._sizes, self._sizes.actions)
        self._model = policy.eval().model.to(self._device, dtype)
        self._inputs = cache(self._made)

    def _made(self, views: int, batch: int) -> tuple[Any, ...]:
        sizes, device = self._sizes, self._device
        side, length = sizes.vision.pixels, PROMPT_TOKENS[sizes.family]
        images = [torch.rand(batch, 3, side, side, device=device) * 2 - 1 for _ in range(views)]
        counted = [torch.ones(batch, dtype=torch.bool, device=device)] * views
        tokens = torch.randint(1, sizes.words, (batch, length), device=device)
        text = (torch.arange(length, device=device) < WORDS).expand(batch, -1)
        state = torch.randn(batch, sizes.states, device=device)
        stated = (state,) if sizes.family == "pi0" else ()
        return images, counted, tokens, text, *stated

    def once(self, line: str) -> float:
        """Milliseconds from the inputs on the device to actions on the host."""
        views, steps, batch = map(int, line.split())
        inputs = self._inputs(views, batch)
        shape = (batch, self._sizes.steps, self._sizes.actions)
        noise = torch.randn(shape, device=self._device)
        began_s = time.perf_counter()
        with torch.inference_mode():
            chunk = self._model.sample_actions(*inputs, noise=noise, num_steps=steps)
        chunk.float().cpu().numpy()
        return (time.perf_counter() - began_s) * 1e3


if __name__ == "__main__":
    FAMILY, SIZE, DEVICE = sys.argv[1:]
    line_server.serve(Timed(msgspec.convert(FAMILY, Family), SIZE, DEVICE).once)
