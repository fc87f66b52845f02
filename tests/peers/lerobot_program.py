"""A program for an interpreter with LeRobot: makes small checkpoints of random weights, or asks
them directly, through the library alone.

    lerobot_program.py make FAMILY FOLDER ...
    lerobot_program.py chunk FOLDER INPUTS.npz OUTPUT.npy ...

FAMILY may end by -relative: its actions count from the state.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lerobot.configs.policies import PreTrainedConfig
from lerobot.configs.types import FeatureType
from lerobot.policies.factory import (
    get_policy_class,
    make_policy_config,
    make_pre_post_processors,
)
from lerobot.policies.utils import populate_queues, prepare_observation_for_inference
from lerobot.utils.import_utils import register_third_party_plugins

from holdfast.tests.peers import lerobot_families

HORIZON = 8
"""Of real-time chunking."""


def make(family: str, folder: Path, relative: bool) -> None:
    """Write the checkpoint of a policy and its processors."""
    torch.manual_seed(0)
    given = dict(lerobot_families.SMALL[family])
    if relative:
        given |= lerobot_families.RELATIVE
    if family in lerobot_families.BACKBONES:
        given |= lerobot_families.BACKBONES[family](folder)
    inputs, outputs = lerobot_families.features(family)
    config = make_policy_config(
        family,
        input_features=dict(inputs),
        output_features=dict(outputs),
        device="cpu",
        push_to_hub=False,
        **given,
    )
    policy = get_policy_class(family)(config)
    if family == "pi0_fast":  # whose likeliest tokens are else the same for every observation
        for value in policy.parameters():
            torch.nn.init.normal_(value, std=0.5)
    if hasattr(config, "rtc_config"):
        rtc = importlib.import_module("lerobot.policies.rtc.configuration_rtc")
        config.rtc_config = rtc.RTCConfig(execution_horizon=HORIZON)
    policy.save_pretrained(folder)
    stats = {
        name: {
            # In place of a dataset's: min below max, mean between them.
            "mean": torch.rand(shape),
            "std": torch.rand(shape) + 0.5,
            "min": -1 - torch.rand(shape),
            "max": 2 + torch.rand(shape),
            "q01": -0.9 - torch.rand(shape),
            "q99": 1.9 + torch.rand(shape),
        }
        for name, feature in {**inputs, **outputs}.items()
        for shape in [(3, 1, 1) if feature.type is FeatureType.VISUAL else feature.shape]
    }
    for processor in make_pre_post_processors(config, dataset_stats=stats):
        processor.save_pretrained(folder)


def fill_queues(policy: Any, batch: dict[str, Any]) -> dict[str, Any]:
    """As the family's own select_action does."""
    images = [batch[key] for key in policy.config.image_features]
    batch = {key: value for key, value in batch.items() if key != "action"}
    if policy.config.type != "tdmpc":
        batch["observation.images"] = torch.stack(images, dim=-4)
    policy._queues = populate_queues(policy._queues, batch)
    return batch


def continuation(given: Any, k: int, before: Any) -> dict[str, Any]:
    """The arguments of real-time chunking, as lerobot-rollout makes them; none without a prefix."""
    steps = int(given["prefix_steps"][k])
    if not steps:
        return {}
    prefix = torch.from_numpy(given["prefix"][k][:steps])
    relative = [each for each in before.steps if type(each).__name__ == _RELATIVE and each.enabled]
    if relative:
        from lerobot.policies.rtc import reanchor_relative_rtc_prefix

        normalizer = [s for s in before.steps if type(s).__name__ == "NormalizerProcessorStep"]
        prefix = reanchor_relative_rtc_prefix(
            prev_actions_absolute=torch.from_numpy(given["prefix_robot"][k][:steps]),
            current_state=relative[0].get_cached_state(),
            relative_step=relative[0],
            normalizer_step=normalizer[0],
            policy_device="cpu",
        )
    return {"prev_chunk_left_over": prefix, "inference_delay": int(given["delay_steps"][k])}


_RELATIVE = "RelativeActionsProcessorStep"


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
        frame: dict[str, Any] = {key: np.array(given[key][k]) for key in config.input_features}
        device = torch.device("cpu")
        batch = before(prepare_observation_for_inference(frame, device, str(given["task"][k])))
        arguments = continuation(given, k, before)
        if given["guidance_schedule"][k]:
            from lerobot.policies.rtc.configuration_rtc import RTCAttentionSchedule

            settings = policy.rtc_processor.rtc_config
            settings.prefix_attention_schedule = RTCAttentionSchedule(
                str(given["guidance_schedule"][k]).upper()
            )
            settings.max_guidance_weight = float(given["guidance_clip"][k])
            arguments["execution_horizon"] = int(given["execution_horizon"][k])
        torch.manual_seed(int(given["seed"][k]))
        if config.type in ("diffusion", "multi_task_dit", "vqbet", "tdmpc"):
            batch = fill_queues(policy, batch)
        actions = policy.predict_action_chunk(batch, **arguments)
        if config.type == "tdmpc":  # [steps, batch, actions]
            actions = actions.transpose(0, 1)
        made.append(after(actions)[0].numpy())
    np.save(output, np.stack(made))


if __name__ == "__main__":
    register_third_party_plugins()
    words = sys.argv[2:]
    if sys.argv[1] == "make":
        for family, folder in zip(words[::2], words[1::2], strict=True):
            make(family.removesuffix("-relative"), Path(folder), family.endswith("-relative"))
    else:
        for given in zip(words[::3], words[1::3], words[2::3], strict=True):
            chunk(*given)
