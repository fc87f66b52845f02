"""Small configurations of LeRobot's families. For an interpreter with the library."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lerobot.configs.types import FeatureType, PolicyFeature

STATES, ACTIONS = 7, 5
PALIGEMMA, COMMIT = "google/paligemma-3b-pt-224", "35e4f46485b4d07967e7e9935bc3786aad50687c"
ACTION_NAMES = ["joint_0", "joint_1", "joint_2", "joint_3", "gripper"]


def features(family: str) -> tuple[dict[str, PolicyFeature], dict[str, PolicyFeature]]:
    """The inputs and outputs. Some take a single image; TD-MPC a square one of this name."""
    inputs = {"observation.state": PolicyFeature(FeatureType.STATE, (STATES,))}
    images = {
        "tdmpc": {"observation.image": (3, 72, 72)},
        "vqbet": {"observation.images.overhead": (3, 72, 96)},
    }.get(family, {f"observation.images.{name}": (3, 72, 96) for name in ("overhead", "wrist")})
    for name, shape in images.items():
        inputs[name] = PolicyFeature(FeatureType.VISUAL, shape)
    return inputs, {"action": PolicyFeature(FeatureType.ACTION, (ACTIONS,))}


_RESNET = {"crop_shape": None, "pretrained_backbone_weights": None}
_PI0 = {
    "chunk_size": 20,
    "n_action_steps": 20,
    "paligemma_variant": "gemma_300m",
    "action_expert_variant": "gemma_300m",
}
_DENOISED = {"num_inference_steps": 2, "image_resolution": (56, 56)}
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
        **_RESNET,
        "horizon": 40,
        "n_action_steps": 32,
        "down_dims": (16, 32),
        "diffusion_step_embed_dim": 16,
        "spatial_softmax_num_keypoints": 4,
        "num_train_timesteps": 100,
        "num_inference_steps": 2,
    },
    "multi_task_dit": {
        "horizon": 32,
        "n_action_steps": 24,
        "hidden_dim": 32,
        "num_layers": 1,
        "num_heads": 2,
        "timestep_embed_dim": 16,
        "image_resize_shape": (64, 64),
        "image_crop_shape": None,
        "tokenizer_max_length": 16,
        "num_train_timesteps": 100,
        "num_inference_steps": 2,
    },
    "vqbet": {
        **_RESNET,
        "action_chunk_size": 24,
        "n_obs_steps": 2,
        "n_action_pred_token": 2,
        "spatial_softmax_num_keypoints": 4,
        "vqvae_n_embed": 4,
        "vqvae_embedding_dim": 16,
        "vqvae_enc_hidden_dim": 16,
        "gpt_block_size": 32,
        "gpt_input_dim": 32,
        "gpt_output_dim": 32,
        "gpt_n_layer": 1,
        "gpt_n_head": 2,
        "gpt_hidden_dim": 32,
    },
    "tdmpc": {
        "horizon": 20,
        "n_action_repeats": 1,
        "image_encoder_hidden_dim": 8,
        "state_encoder_hidden_dim": 16,
        "latent_dim": 8,
        "mlp_dim": 16,
        "cem_iterations": 2,
        "n_gaussian_samples": 32,
        "n_pi_samples": 4,
        "n_elites": 8,
    },
    "smolvla": {
        "chunk_size": 45,
        "n_action_steps": 45,
        "num_steps": 2,
        "num_vlm_layers": 2,
        "resize_imgs_with_padding": (64, 64),
    },
    "pi0": {**_PI0, **_DENOISED, "tokenizer_max_length": 16},
    "pi05": {**_PI0, **_DENOISED, "tokenizer_max_length": 48},
    "pi0_fast": {
        **_PI0,
        "tokenizer_max_length": 48,
        "max_action_tokens": 24,
        "max_decoding_steps": 24,
        "validate_action_token_prefix": False,
    },
    "gaussian_actor": {},
}
RELATIVE = {
    "use_relative_actions": True,
    "relative_exclude_joints": ["gripper"],
    "action_feature_names": ACTION_NAMES,
}
"""For the π0 family: all actions but the last count from the state."""


def _smolvla(folder: Path) -> dict[str, Any]:
    from holdfast.tests.peers import small_backbones

    return {"vlm_model_name": small_backbones.smolvlm(folder / "vlm")}


def _multi_task_dit(folder: Path) -> dict[str, Any]:
    from holdfast.tests.peers import small_backbones

    place = small_backbones.clip(folder / "clip")
    return {"vision_encoder_name": place, "text_encoder_name": place}


def _pi0(folder: Path) -> dict[str, Any]:
    _ = folder
    from holdfast.tests.peers import small_backbones

    # By its name: the processors have no field for another.
    small_backbones.gemma_tokenizer(cached(PALIGEMMA))
    return {}


def _pi0_fast(folder: Path) -> dict[str, Any]:
    from holdfast.tests.peers import small_backbones

    return {
        **_pi0(folder),
        "action_tokenizer_name": small_backbones.fast_tokenizer(folder / "fast"),
    }


BACKBONES: dict[str, Callable[[Path], dict[str, Any]]] = {
    "smolvla": _smolvla,
    "multi_task_dit": _multi_task_dit,
    "pi0": _pi0,
    "pi05": _pi0,
    "pi0_fast": _pi0_fast,
}
"""What else only a hub has, made in a folder or in its cache, and the fields that name it."""


def cached(name: str) -> Path:
    """The folder of a model in the hub's cache, which is below $HF_HOME."""
    place = Path(os.environ["HF_HOME"]) / "hub" / f"models--{name.replace('/', '--')}"
    (place / "refs").mkdir(parents=True, exist_ok=True)
    (place / "refs" / "main").write_text(COMMIT)
    snapshot = place / "snapshots" / COMMIT
    snapshot.mkdir(parents=True, exist_ok=True)
    return snapshot
