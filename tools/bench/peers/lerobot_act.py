"""A small ACT of random weights in LeRobot's own files, for the interpreters that have LeRobot."""

from __future__ import annotations

import torch
from lerobot.configs import FeatureType, PolicyFeature
from lerobot.policies.factory import (
    get_policy_class,
    make_policy_config,
    make_pre_post_processors,
)

from .work import CAMERAS, JOINTS, STEPS


def make(folder: str, width: int, height: int, cameras: tuple[str, ...] = CAMERAS) -> None:
    """Write the checkpoint and its processors: `cameras` of that size, 14 joints, 50 steps."""
    torch.manual_seed(0)
    inputs = {"observation.state": PolicyFeature(FeatureType.STATE, (JOINTS,))}
    for name in cameras:
        image = PolicyFeature(FeatureType.VISUAL, (3, height, width))
        inputs[f"observation.images.{name}"] = image
    outputs = {"action": PolicyFeature(FeatureType.ACTION, (JOINTS,))}
    config = make_policy_config(
        "act",
        input_features=inputs,
        output_features=outputs,
        device="cpu",
        push_to_hub=False,
        chunk_size=STEPS,
        n_action_steps=STEPS,
        dim_model=64,
        n_heads=4,
        dim_feedforward=128,
        n_encoder_layers=1,
        n_vae_encoder_layers=1,
        pretrained_backbone_weights=None,
    )
    get_policy_class("act")(config).save_pretrained(folder)
    stats = {
        name: {"mean": torch.zeros(shape), "std": torch.ones(shape)}
        for name, feature in {**inputs, **outputs}.items()
        for shape in [(3, 1, 1) if feature.type is FeatureType.VISUAL else feature.shape]
    }
    for processor in make_pre_post_processors(config, dataset_stats=stats):
        processor.save_pretrained(folder)
