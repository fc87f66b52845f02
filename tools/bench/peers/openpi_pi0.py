"""openpi's own π0 or π0.5 in PyTorch with random weights, of sizes that openpi has no names for.

    openpi_pi0.py FOLDER FAMILY SIZE DEVICE eager|compiled

FOLDER is one of openpi's repository; compiled is by torch.compile, as openpi's configurations have
it, which takes minutes for each shape of a batch. Each line of input, `VIEWS EULER_STEPS BATCH`, is
answered by the milliseconds of one batch, from inputs on the device to actions on the host. SIZE is
`small` or `published`. openpi's model always sees three images: those that a robot lacks are
masked, not left out.
"""

from __future__ import annotations

import sys
import time
from functools import cache, partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import msgspec
import torch
from torch import Tensor

from holdfast.policy.pi0.architecture import Architecture, FlowFamily
from holdfast.policy.pi0.checkpoint_layout import PROMPT_TOKENS
from holdfast.tools.bench.pi_sizes import WORDS, small

from . import line_server
from .openpi_files import OpenpiFiles, openpi_files
from .resized_classes import ResizedClasses, gemma_of

COMPILED = "max-autotune"
"""The `pytorch_compile_mode` of openpi's Pi0Config."""

SLOTS = ("base_0_rgb", "left_wrist_0_rgb", "right_wrist_0_rgb")


def model_of(files: OpenpiFiles, sizes: Architecture, precision: str = "float32") -> Any:
    """openpi's `PI0Pytorch`, whose sizes of the vision tower and of the vocabulary are numbers in
    openpi's code."""
    classes = files.transformers
    resized = ResizedClasses(
        sizes, classes.PaliGemmaForConditionalGeneration, classes.GemmaForCausalLM
    )

    config = SimpleNamespace(
        pi05=sizes.family == "pi05",
        paligemma_variant="gemma_2b",
        action_expert_variant="gemma_300m",
        action_dim=sizes.actions,
        action_horizon=sizes.steps,
        dtype=precision,
        pytorch_compile_mode=None,
    )
    with (
        mock.patch.object(files.gemma, "get_config", partial(gemma_of, files.gemma.Config, sizes)),
        mock.patch.object(classes, "PaliGemmaForConditionalGeneration", resized.whole),
        mock.patch.object(classes, "GemmaForCausalLM", resized.expert),
    ):
        model = files.network.PI0Pytorch(config)
    prepare = partial(
        files.preparation.preprocess_observation_pytorch,
        image_resolution=(sizes.vision.pixels, sizes.vision.pixels),
    )
    mock.patch.object(files.preparation, "preprocess_observation_pytorch", prepare).start()
    return model.eval()


def observation_of(
    images: list[Tensor], counts: Tensor, tokens: Tensor, token_counts: Tensor, state: Tensor
) -> SimpleNamespace:
    """What the model reads of openpi's `Observation`: images [b, 3, p, p] from -1 to 1, of which
    `counts` [b, views], and a masked one for each slot that is left."""
    none = torch.zeros_like(images[0]), torch.zeros_like(counts[:, 0])
    views = [*zip(images, counts.unbind(1), strict=True)]
    views += [none] * (len(SLOTS) - len(views))
    return SimpleNamespace(
        images={slot: image for slot, (image, _) in zip(SLOTS, views, strict=True)},
        image_masks={slot: mask for slot, (_, mask) in zip(SLOTS, views, strict=True)},
        state=state,
        tokenized_prompt=tokens,
        tokenized_prompt_mask=token_counts,
        token_ar_mask=None,
        token_loss_mask=None,
    )


class TimedOpenpi:
    """The model of a size on a device, timed by lines of "VIEWS EULER_STEPS BATCH"."""

    def __init__(
        self, folder: Path, family: FlowFamily, size: str, device: str, execution: str
    ) -> None:
        torch.set_num_threads(1)  # as replicas do
        self._sizes = small(family) if size == "small" else Architecture(family=family)
        self._device = torch.device(device)
        precision = "float32" if size == "small" else "bfloat16"
        model = model_of(openpi_files(folder), self._sizes, precision)
        self._model = model.to(self._device)
        if execution == "compiled":
            self._model.sample_actions = torch.compile(model.sample_actions, mode=COMPILED)
        self._observation = cache(self._made)

    def _made(self, views: int, batch: int) -> SimpleNamespace:
        sizes, device = self._sizes, self._device
        side, length = sizes.vision.pixels, PROMPT_TOKENS[sizes.family]
        return observation_of(
            [torch.rand(batch, 3, side, side, device=device) * 2 - 1 for _ in range(views)],
            torch.ones(batch, views, dtype=torch.bool, device=device),
            torch.randint(1, sizes.words, (batch, length), device=device),
            (torch.arange(length, device=device) < WORDS).expand(batch, -1),
            torch.randn(batch, sizes.states, device=device),
        )

    def once(self, line: str) -> float:
        """Milliseconds from the inputs on the device to actions on the host."""
        views, steps, batch = map(int, line.split())
        observation = self._observation(views, batch)
        shape = (batch, self._sizes.steps, self._sizes.actions)
        noise = torch.randn(shape, device=self._device)
        began_s = time.perf_counter()
        chunk = self._model.sample_actions(self._device, observation, noise=noise, num_steps=steps)
        chunk.float().cpu().numpy()
        return (time.perf_counter() - began_s) * 1e3


if __name__ == "__main__":
    FOLDER, FAMILY, *HOW = sys.argv[1:]
    MODEL = TimedOpenpi(Path(FOLDER), msgspec.convert(FAMILY, FlowFamily), *HOW)
    line_server.serve(MODEL.once)
