"""LeRobot's own π0-FAST, small, with weights by name: `FOLDER` writes its weights as
`save_pretrained` does, and `computed.npz` beside them. For an interpreter with the library."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import numpy as np
import torch
from lerobot.configs.types import FeatureType, PolicyFeature
from lerobot.policies.pi0_fast import modeling_pi0_fast
from lerobot.policies.pi0_fast.configuration_pi0_fast import PI0FastConfig
from lerobot.policies.pi0_fast.processor_pi0_fast import (
    Pi0FastPrepareStateAndLanguageTokenizerProcessorStep as Texts,
)
from lerobot.processor import TransitionKey
from safetensors.torch import save_file

from holdfast.policy.pi0.tensor_names import WORDS, WORDS_OUT
from holdfast.tests.peers.key_weights import weights_of
from holdfast.tests.peers.small_pi0 import (
    ACTIONS,
    BEGIN,
    DECODED,
    END,
    SMALL,
    TASKS,
    action_words,
    inputs,
    states,
)

torch.set_num_threads(1)
SIZES = SMALL["pi0_fast"]


def policy_of() -> Any:
    """The policy. The library reads tokenizers from a hub; here two words stand for them."""
    language = SIZES.language
    whole = modeling_pi0_fast.PaliGemmaForConditionalGenerationWithPiGemma

    def gemma(_: str) -> Any:
        return modeling_pi0_fast.GemmaConfig(
            *(language.width, language.layers, language.mlp),
            *(language.heads, language.key_heads, language.head),
        )

    def small_whole(config: Any) -> Any:
        vision = config.vision_config
        vision.hidden_size, vision.num_hidden_layers = SIZES.vision.width, SIZES.vision.layers
        vision.num_attention_heads, vision.intermediate_size = SIZES.vision.heads, SIZES.vision.mlp
        vision.projection_dim, vision.image_size = language.width, SIZES.vision.pixels
        config.text_config.vocab_size = SIZES.words
        return whole(config=config)

    words = SimpleNamespace(bos_token_id=BEGIN, convert_tokens_to_ids=lambda _: END)
    tokenizer = SimpleNamespace(from_pretrained=lambda *_, **__: words)
    config = PI0FastConfig(
        chunk_size=SIZES.steps,
        n_action_steps=SIZES.steps,
        image_resolution=(SIZES.vision.pixels, SIZES.vision.pixels),
        device="cpu",
        dtype="float32",
        input_features={"observation.state": PolicyFeature(FeatureType.STATE, (7,))},
        output_features={"action": PolicyFeature(FeatureType.ACTION, (ACTIONS,))},
    )
    with (
        mock.patch.object(modeling_pi0_fast, "get_gemma_config", gemma),
        mock.patch.object(
            modeling_pi0_fast, "PaliGemmaForConditionalGenerationWithPiGemma", small_whole
        ),
        mock.patch.object(modeling_pi0_fast, "AutoTokenizer", tokenizer),
        mock.patch.object(modeling_pi0_fast, "AutoProcessor", tokenizer),
    ):
        policy = modeling_pi0_fast.PI0FastPolicy(config)
    with torch.no_grad():
        for key, value in policy.model.state_dict().items():
            named = WORDS if key == WORDS_OUT else key
            value.copy_(torch.from_numpy(weights_of(named, tuple(value.shape))))
    return policy.eval()


def computed(model: Any) -> dict[str, torch.Tensor]:
    """The scores of each word after given ones, their loss, and the words of a free choice."""
    given = {name: torch.from_numpy(value) for name, value in inputs("pi0_fast").items()}
    seen = (
        [given["left"], given["right"]],
        list(given["image_counts"].unbind(1)),
        given["tokens"],
        given["token_counts"],
    )
    scores: list[torch.Tensor] = []
    head = model.paligemma_with_expert.paligemma.lm_head
    hook = head.register_forward_hook(lambda _, __, out: scores.append(out))
    words = torch.from_numpy(action_words())
    losses = model(*seen, words, torch.ones_like(words, dtype=torch.bool))
    hook.remove()
    free = model.sample_actions_fast_kv_cache(*seen, max_decoding_steps=DECODED)
    return {"scores": scores[0], "loss": losses["ce_loss"], "free": free}


def texts() -> list[str]:
    """What the library makes of tasks and states."""
    transition = {
        TransitionKey.OBSERVATION: {"observation.state": torch.from_numpy(states())},
        TransitionKey.COMPLEMENTARY_DATA: {"task": list(TASKS)},
    }
    made: list[str] = Texts()(transition)[TransitionKey.COMPLEMENTARY_DATA]["task"]
    return made


if __name__ == "__main__":
    FOLDER = Path(sys.argv[1])
    POLICY = policy_of()
    with torch.no_grad():
        RESULTS = computed(POLICY.model)
    save_file(
        {f"model.{k}": v.clone() for k, v in POLICY.model.state_dict().items()},
        FOLDER / "model.safetensors",
    )
    ARRAYS: dict[str, Any] = {name: each.numpy() for name, each in RESULTS.items()}
    np.savez(FOLDER / "computed.npz", texts=np.array(texts()), **ARRAYS)
