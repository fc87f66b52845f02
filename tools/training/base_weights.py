"""`load_base`: the weights of another checkpoint to begin with, chosen by patterns of names."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from ...errors import PolicyError
from ...policy.checkpoint import read_config, read_weights
from ...policy.tokens import Vocabulary
from .name_patterns import included, unmatched

WORDS = "encoder.instruction.embed.weight"
"""A row for each word of the vocabulary, which another dataset's instructions make another one."""


def load_base(
    network: nn.Module, checkpoint: str, patterns: Sequence[str], vocabulary: Sequence[str]
) -> list[str]:
    """Copy the tensors of `checkpoint` whose names match `patterns` into `network`, whose
    instructions have the words `vocabulary`; return their names. Words that the checkpoint does
    not know keep their initial embedding, and where there are some, the embedding is not among the
    names.

    A pattern such as `encoder.eyes.*` includes, one such as `!encoder.instruction.*` excludes; the
    last that matches decides. Raises PolicyError for a pattern that matches nothing, where nothing
    is included, and for a tensor that the network has not, or of another shape.
    """
    own, chosen = network.state_dict(), []
    weights, known = read_weights(checkpoint), read_config(checkpoint).vocabulary
    check_base_patterns(checkpoint, weights, patterns)
    for name, value in weights.items():
        if not included(name, patterns):
            continue
        if name not in own:
            raise PolicyError(
                f"base {checkpoint}: this network has no weight {name}; exclude it: "
                f"base_weights=*,!{name}"
            )
        if name == WORDS:
            value = _embeddings(value, known, own[name], vocabulary)
        if tuple(value.shape) != tuple(own[name].shape):
            raise PolicyError(
                f"base {checkpoint}: {name} is {list(value.shape)} there and "
                f"{list(own[name].shape)} here; exclude it: base_weights=*,!{name}"
            )
        own[name].copy_(torch.from_numpy(value))
        chosen.append(name)
    partly = not set(vocabulary).issubset(known)
    return [name for name in chosen if name != WORDS or not partly]


def check_base_patterns(checkpoint: str, names: Iterable[str], patterns: Sequence[str]) -> None:
    """Raises PolicyError for a pattern that matches none of the weights `names` of a base, and
    where nothing is included."""
    there = sorted(names)
    wrong = unmatched(there, patterns)
    if wrong or not any(included(name, patterns) for name in there):
        raise PolicyError(
            f"base {checkpoint}: no weight matches {', '.join(wrong or patterns)}; there are "
            f"{', '.join(there[:3])}, ..."
        )


def _embeddings(
    theirs: NDArray[np.generic],
    their_words: Sequence[str],
    ours: torch.Tensor,
    words: Sequence[str],
) -> NDArray[np.generic]:
    """`ours` [words, width], with the rows of `theirs` for the words that both have."""
    if theirs.shape[1:] != tuple(ours.shape[1:]):
        return theirs
    rows = {word: row for row, word in enumerate(Vocabulary(their_words).numbered())}
    found: NDArray[np.generic] = ours.numpy().copy()
    for row, word in enumerate(Vocabulary(words).numbered()):
        if word in rows:
            found[row] = theirs[rows[word]]
    return found
