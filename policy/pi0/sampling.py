"""`Sampling`: the last step before a model, in service as in training. No torch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..base import Observation
from ..steps import Data
from ..steps.padding import pad_last
from .architecture import Architecture, Origin
from .pi_sample import PiSample
from .prompt_text import texts_of, tokens_of
from .word_pieces import WordPieces


@dataclass(frozen=True)
class Sampling:
    """What the robot's steps have made, as a model of `architecture` takes it.

    `prompt_tokens` are the most of a prompt; `reads_state` is whether the text has the state, in a
    family that can have it there; `after_prompt` are tokens that follow each prompt.
    """

    architecture: Architecture
    origin: Origin
    pieces: WordPieces
    prompt_tokens: int
    reads_state: bool = True
    after_prompt: tuple[int, ...] = ()

    def sample(self, data: Data, asked: Observation) -> PiSample:
        """The sample of `asked`, of which the robot's steps have made `data`; its actions, if there
        are any, are the `prefix`."""
        sizes = self.architecture
        state = np.asarray(data.get("state", np.zeros(0, np.float32)))
        masks = data["image_mask"]
        rest = np.asarray(data.get("actions", np.zeros((0, sizes.actions))), np.float32)
        return PiSample(
            asked=asked,
            # A slot without a camera is as if it were not there.
            images={slot: image for slot, image in data["image"].items() if masks[slot]},
            tokens=self.tokens(str(data.get("prompt", "")), state),
            state=pad_last(state, sizes.states).astype(np.float32),
            prefix=pad_last(rest, sizes.actions)[: sizes.steps],
        )

    def tokens(self, task: str, state: NDArray[np.floating]) -> list[int]:
        """Those of the prompt for a `task` and a normalized `state` [S], cut to `prompt_tokens`."""
        family = self.architecture.family
        read = family == "pi0_fast" or (family == "pi05" and self.reads_state)
        texts = texts_of(family, self.origin, task, state if read else None)
        return [*tokens_of(self.pieces, texts, self.prompt_tokens), *self.after_prompt]
