"""The code of a small FAST tokenizer, which its folder names by `auto_map`: the attributes by which
π0-FAST decodes actions, without a learned vocabulary."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from transformers import ProcessorMixin


class Letters:
    """In place of the learned byte pairs: a token is a letter."""

    def decode(self, tokens: Iterable[Any]) -> str:
        """One letter for each token."""
        return "".join(chr(int(token) % 64) for token in tokens)


class SmallFast(ProcessorMixin):  # type: ignore[misc]
    """`scale` divides the coefficients, the smallest of which is `min_token`."""

    attributes: tuple[str, ...] = ()
    scale = 10.0
    min_token = -32

    def __init__(self, **_: Any) -> None:
        self.bpe_tokenizer = Letters()
        super().__init__()
