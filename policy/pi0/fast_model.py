"""`FastModel`: a π0-FAST checkpoint on a device, from prepared samples to actions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray

from ..base import PolicySpec
from ..torch_devices import device_of, dtype_of
from .action_tokens import ActionTokens, read_action_tokens
from .checkpoint_layout import CheckpointLayout
from .fast_decoding import ActionWords, FastDecoder
from .fast_network import FastNetwork
from .pi_options import PiOptions
from .pi_sample import PiSample, padded_length, texts_of_batch, views_of
from .pi_weights import load_network
from .word_pieces import WordPieces

BEFORE = "Action: "
"""The text that an answer begins with."""


class FastModel:
    """`network` for observations of `spec`, where and in which dtype its weights are."""

    def __init__(
        self,
        network: FastNetwork,
        layout: CheckpointLayout,
        spec: PolicySpec,
        tokens: ActionTokens,
        pieces: WordPieces,
        graphs: object = "auto",
    ) -> None:
        self.tokens, self.files = tokens, tokens.files
        self._layout, self._spec = layout, spec
        self.device = network.words_out.weight.device
        network.join()
        letters = spec.chunk_size * len(spec.action_names)
        words, before = ActionWords(tokens, network), pieces.encode(BEFORE)
        self.decoder = FastDecoder(network, words, before, letters, layout.decoded_tokens, graphs)

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
        return cls(network, layout, spec, tokens, pieces, options.graphs)

    preparation = ""

    @property
    def execution(self) -> str:
        """How the network runs, for the status."""
        return self.decoder.execution

    def predict(self, samples: Sequence[PiSample]) -> Float[NDArray[np.float32], "b h a"]:
        """The actions of a batch, normalized. Raises ValueError for a chunk that is malformed."""
        steps, actions = self._spec.chunk_size, len(self._spec.action_names)
        most = self._layout.decoded_tokens
        chunks = []
        for tokens in self.decoded(samples):
            if tokens is None:
                raise ValueError(
                    f"a malformed chunk: {most} action tokens are not enough for {steps} steps of "
                    f"{actions} actions"
                )
            chunks.append(self.tokens.decode(tokens, steps, actions))
        return np.stack(chunks)

    def decoded(self, samples: Sequence[PiSample]) -> list[list[int] | None]:
        """The action tokens of each sample; None for a chunk that is malformed."""
        # One more: after a text, LeRobot's model begins a second time.
        most = self._layout.prompt_tokens + 1
        length = most if self.decoder.captures else padded_length(samples, most)
        texts = texts_of_batch(samples, length)
        inputs = [torch.from_numpy(x).to(self.device) for x in (*views_of(samples), *texts)]
        # Not inference mode: its tensors, of which the cache is made, cannot be written elsewhere.
        with torch.no_grad():
            return self.decoder.decode(*inputs)
