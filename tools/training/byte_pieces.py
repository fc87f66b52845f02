"""`byte_tokenizer`: one token a byte, for networks that start from random weights."""

from __future__ import annotations

import json
from typing import Any

FIRST = ("<pad>", "<eos>", "<bos>", "<unk>")
"""The first words, numbered as in PaliGemma's tokenizer."""

WORDS = len(FIRST) + 256


def byte_tokenizer() -> bytes:
    """A `tokenizer.json` of 260 words, for the library tokenizers."""
    import tokenizers
    from tokenizers import decoders, models, pre_tokenizers, processors

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = {word: number for number, word in enumerate((*FIRST, *letters))}
    made: Any = tokenizers.Tokenizer(models.BPE(vocab=words, merges=[]))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    made.post_processor = processors.TemplateProcessing(
        single="<bos> $A", special_tokens=[("<bos>", words["<bos>"])]
    )
    return json.dumps(json.loads(made.to_str())).encode()
