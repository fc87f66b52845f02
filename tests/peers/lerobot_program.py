"""A program for an interpreter with LeRobot: makes a small checkpoint of random weights, or asks
one directly, through the library alone.

    lerobot_program.py make FAMILY FOLDER
    lerobot_program.py chunk FOLDER INPUTS.npz OUTPUT.npy
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lerobot.configs import FeatureType, PolicyFeature, PreTrainedConfig
from lerobot.policies.factory import (
    get_policy_class,
    make_policy_config,
    make_pre_post_processors,
)
from lerobot.policies.utils import prepare_observation_for_inference

STATES, ACTIONS = 7, 5
INPUTS = {
    "observation.state": PolicyFeature(FeatureType.STATE, (STATES,)),
    "observation.images.overhead": PolicyFeature(FeatureType.VISUAL, (3, 72, 96)),
    "observation.images.wrist": PolicyFeature(FeatureType.VISUAL, (3, 72, 96)),
}
OUTPUTS = {"action": PolicyFeature(FeatureType.ACTION, (ACTIONS,))}
SMALL: dict[str, dict[str, Any]] = {
    "act": {
        "chunk_size": 45,
        "n_action_steps": 45,
        "dim_model": 32,
        "n_heads": 2,
        "dim_feedforward": 32,
        "n_encoder_layers": 1,
        "n_vae_encoder_layers": 1,
        "latent_dim": 8,
        "pretrained_backbone_weights": None,
    },
    "diffusion": {
        "horizon": 40,
        "n_action_steps": 32,
        "down_dims": (16, 32),
        "diffusion_step_embed_dim": 16,
        "spatial_softmax_num_keypoints": 4,
        "num_train_timesteps": 100,
        "num_inference_steps": 2,
        "crop_shape": None,
        "pretrained_backbone_weights": None,
    },
    "smolvla": {
        "chunk_size": 45,
        "n_action_steps": 45,
        "num_steps": 2,
        "num_vlm_layers": 2,
        "resize_imgs_with_padding": (64, 64),
    },
}
UNKNOWN, PADDING = "<unk>", "<pad>"
SPECIAL = {
    "image_token": "<image>",
    "fake_image_token": "<fake_token_around_image>",
    "global_image_token": "<global-img>",
    "end_of_utterance_token": "<end_of_utterance>",
}


def make_vlm(folder: Path) -> str:
    """A small backbone's configuration and tokenizer, which else only a hub has."""
    import tokenizers
    import transformers

    words = [PADDING, UNKNOWN, *SPECIAL.values(), "pick", "the", "red", "parcel"]
    vocabulary = {word: place for place, word in enumerate(words)}
    made = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, unk_token=UNKNOWN))
    made.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=made, unk_token=UNKNOWN, pad_token=PADDING, extra_special_tokens=SPECIAL
    )
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
        image_token_id=vocabulary["<image>"],
        pad_token_id=0,
    ).save_pretrained(folder)
    transformers.SmolVLMProcessor(
        transformers.SmolVLMImageProcessor(), tokenizer, transformers.SmolVLMVideoProcessor()
    ).save_pretrained(folder)
    return str(folder)


def make(family: str, folder: str) -> None:
    """Write the checkpoint of a policy and its processors."""
    torch.manual_seed(0)
    given = dict(SMALL[family])
    if family == "smolvla":
        given["vlm_model_name"] = make_vlm(Path(folder) / "vlm")
    config = make_policy_config(
        family,
        input_features=dict(INPUTS),
        output_features=dict(OUTPUTS),
        device="cpu",
        push_to_hub=False,
        **given,
    )
    get_policy_class(family)(config).save_pretrained(folder)
    stats = {
        name: {
            # In place of a dataset's: min below max, mean between them.
            "mean": torch.rand(shape),
            "std": torch.rand(shape) + 0.5,
            "min": -1 - torch.rand(shape),
            "max": 2 + torch.rand(shape),
        }
        for name, feature in {**INPUTS, **OUTPUTS}.items()
        for shape in [(3, 1, 1) if feature.type is FeatureType.VISUAL else feature.shape]
    }
    for processor in make_pre_post_processors(config, dataset_stats=stats):
        processor.save_pretrained(folder)


def chunk(folder: str, inputs: str, output: str) -> None:
    """What the library itself gives for each of a sequence of observations, [N, H, A]. The first
    begins an episode."""
    torch.set_num_threads(1)
    config = PreTrainedConfig.from_pretrained(folder)
    policy = get_policy_class(config.type).from_pretrained(folder)
    before, after = make_pre_post_processors(config, folder)
    policy.reset()
    given = np.load(inputs)
    made = []
    for k in range(len(given["seed"])):
        frame: dict[str, Any] = {key: np.array(given[key][k]) for key in INPUTS}
        device = torch.device("cpu")
        batch = before(prepare_observation_for_inference(frame, device, str(given["task"][k])))
        torch.manual_seed(int(given["seed"][k]))
        if config.type == "diffusion":
            # As select_action: images under one key, then into the queues.
            from lerobot.policies.utils import populate_queues
            from lerobot.utils.constants import OBS_IMAGES

            batch = dict(batch)
            images = [batch[key] for key in config.image_features]
            batch[OBS_IMAGES] = torch.stack(images, dim=-4)
            batch.pop("action", None)
            policy._queues = populate_queues(policy._queues, batch)
        made.append(after(policy.predict_action_chunk(batch))[0].numpy())
    np.save(output, np.stack(made))


if __name__ == "__main__":
    if sys.argv[1] == "make":
        make(sys.argv[2], sys.argv[3])
    else:
        chunk(sys.argv[2], sys.argv[3], str(Path(sys.argv[4])))
