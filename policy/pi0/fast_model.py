"""`FastModel`: a π0-FAST checkpoint on a device, from prepared samples to actions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray

from ..base import Observation, PolicySpec
from ..torch_devices import device_of, dtype_of
from .action_tokens import ActionTokens, read_action_tokens
from .checkpoint_layout import CheckpointLayout
from .fast_decoding import ActionWords, decode
from .fast_network import FastNetwork
from .image_preparation import prepared
from .pi_options import PiOptions
from .pi_sample import PiSample
from .pi_weights import load_network
from .word_pieces import WordPieces

BEFORE = "Action: "
"""The text that an answer begins with."""


class FastModel:
    """`network` for observations of `spec`, where and in which dtype its weights are."""

    execution = "eager: actions are decoded token by token"

    def __init__(
        self,
        network: FastNetwork,
        layout: CheckpointLayout,
        spec: PolicySpec,
        tokens: ActionTokens,
        pieces: WordPieces,
    ) -> None:
        self.network, self.tokens = network, tokens
        self.files = tokens.files
        self._layout, self._spec = layout, spec
        weight = network.words_out.weight
        self.device, self.dtype = weight.device, weight.dtype
        self._words = ActionWords(tokens, network)
        self._before = pieces.encode(BEFORE)

    @classmethod
    def load(
        cls,
        layout: CheckpointLayout,
        spec: PolicySpec,
        options: PiOptions,
        pieces: WordPieces,
        device: str,
        dtype: str,
    ) -> Self:
        """With the weights of the layout's directory. Raises PolicyError for weights, an action
        tokenizer, a device or a dtype that cannot be used."""
        on, kept_as = device_of(device), dtype_of(dtype)
        tokens = read_action_tokens(layout.folder, options.action_tokenizer)
        network = load_network(FastNetwork, layout.folder, layout.architecture, on, kept_as)
        return cls(network, layout, spec, tokens, pieces)

    def predict(
        self,
        batch: Sequence[Observation],
        samples: Sequence[PiSample],
    ) -> Float[NDArray[np.float32], "b h a"]:
        """The actions of a batch, normalized. Raises ValueError for a chunk that is malformed."""
        steps, actions = self._spec.chunk_size, len(self._spec.action_names)
        with torch.inference_mode():
            found = self.decoded(samples)
        most = self._layout.decoded_tokens
        chunks = []
        for tokens in found:
            if tokens is None:
                raise ValueError(
                    f"a malformed chunk: {most} action tokens are not enough for {steps} steps of "
                    f"{actions} actions"
                )
            chunks.append(self.tokens.decode(tokens, steps, actions))
        return np.stack(chunks)

    def decoded(self, samples: Sequence[PiSample]) -> list[list[int] | None]:
        """The action tokens of each sample; None for a chunk that is malformed."""
        longest = max(len(sample.tokens) for sample in samples)
        tokens = torch.zeros(len(samples), longest, dtype=torch.long)
        counts = torch.zeros(len(samples), longest, dtype=torch.bool)
        for k, sample in enumerate(samples):
            tokens[k, : len(sample.tokens)] = torch.tensor(sample.tokens)
            counts[k, : len(sample.tokens)] = True
        pixels = self._layout.architecture.vision.pixels
        views = [np.stack([s.images[slot] for s in samples]) for slot in samples[0].images]
        images = [
            prepared(torch.from_numpy(view).to(self.device), pixels).to(self.dtype)
            for view in views
        ]
        all_count = torch.ones(len(samples), len(views), dtype=torch.bool, device=self.device)
        seen = self.network.prefix(
            images, all_count, tokens.to(self.device), counts.to(self.device)
        )
        letters = self._spec.chunk_size * len(self._spec.action_names)
        most = self._layout.decoded_tokens
        return decode(self.network, seen, self._before, self._words, letters, most)
