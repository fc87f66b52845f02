"""Small random-weight backbones and tokenizers, in place of those that only a hub has. For an
interpreter with transformers."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import tokenizers
import transformers

UNKNOWN, PADDING, BEGIN, END = "<unk>", "<pad>", "<bos>", "<eos>"
WORDS = ["pick", "the", "red", "parcel", "Task", "State", "Action", ":", ",", ";", "|", "\n"]
VOCABULARY = 512
SPECIAL = {
    "image_token": "<image>",
    "fake_image_token": "<fake_token_around_image>",
    "global_image_token": "<global-img>",
    "end_of_utterance_token": "<end_of_utterance>",
}


def tokenizer_of(words: list[str], **special: object) -> transformers.PreTrainedTokenizerFast:
    """One token for each word; spaces separate them."""
    made = tokenizers.Tokenizer(
        tokenizers.models.WordLevel(
            {word: place for place, word in enumerate(words)}, unk_token=UNKNOWN
        )
    )
    made.pre_tokenizer = tokenizers.pre_tokenizers.Sequence(
        [tokenizers.pre_tokenizers.WhitespaceSplit(), tokenizers.pre_tokenizers.Punctuation()]
    )
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=made, unk_token=UNKNOWN, pad_token=PADDING, **special
    )


def gemma_tokenizer(folder: Path) -> str:
    """In place of PaliGemma's: every number of a discretized state is a word."""
    words = [PADDING, UNKNOWN, BEGIN, END, *WORDS, *(str(n) for n in range(256))]
    words += [f"<{n}>" for n in range(VOCABULARY - len(words))]
    made = tokenizer_of(words, bos_token=BEGIN, eos_token=END)
    made.save_pretrained(folder)
    (folder / "config.json").write_text('{"model_type": "paligemma"}')
    return str(folder)


def fast_tokenizer(folder: Path) -> str:
    """In place of the FAST action tokenizer: each token is one coefficient."""
    folder.mkdir(parents=True)
    shutil.copy(Path(__file__).with_name("small_fast.py"), folder / "small_fast.py")
    (folder / "processor_config.json").write_text(
        json.dumps(
            {
                "processor_class": "SmallFast",
                "auto_map": {"AutoProcessor": "small_fast.SmallFast"},
            }
        )
    )
    return str(folder)


def smolvlm(folder: Path) -> str:
    """SmolVLA's backbone: its configuration and its processor."""
    words = [PADDING, UNKNOWN, *SPECIAL.values(), *WORDS]
    tokenizer = tokenizer_of(words, extra_special_tokens=SPECIAL)
    size = {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 2}
    transformers.SmolVLMConfig(
        text_config={
            **size,
            "model_type": "llama",
            "num_hidden_layers": 2,
            "num_key_value_heads": 2,
            "head_dim": 16,
            "vocab_size": len(words),
            "pad_token_id": 0,
        },
        vision_config={**size, "num_hidden_layers": 1, "image_size": 64, "patch_size": 16},
        scale_factor=2,
        image_token_id=words.index("<image>"),
        pad_token_id=0,
    ).save_pretrained(folder)
    transformers.SmolVLMProcessor(
        transformers.SmolVLMImageProcessor(), tokenizer, transformers.SmolVLMVideoProcessor()
    ).save_pretrained(folder)
    return str(folder)


def clip(folder: Path) -> str:
    """Multitask DiT's encoders of images and texts, whose name has to contain `clip`."""
    words = [PADDING, UNKNOWN, BEGIN, END, *WORDS]
    size = {"hidden_size": 32, "intermediate_size": 32, "num_attention_heads": 2}
    config = transformers.CLIPConfig(
        text_config={**size, "num_hidden_layers": 1, "vocab_size": len(words), "eos_token_id": 3},
        vision_config={**size, "num_hidden_layers": 1, "image_size": 64, "patch_size": 32},
        projection_dim=32,
    )
    transformers.CLIPModel(config).save_pretrained(folder)
    tokenizer_of(words, bos_token=BEGIN, eos_token=END).save_pretrained(folder)
    return str(folder)
