"""A policy of LeRobot, asked through the library alone and through Holdfast's adapter alone.

    lerobot_direct.py FOLDER OPTIONS

FOLDER is filled with a small ACT of random weights. Then each line of input, `library` or
`adapter`, is answered by milliseconds; OPTIONS are the adapter's, as JSON. Both get the same
observation.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from . import lerobot_act, line_server
from .work import CAMERAS, JOINTS, TASK

WIDTH, HEIGHT = 64, 48


def library(folder: str) -> Callable[[], Any]:
    """One chunk by the library alone: preprocessor, policy, postprocessor."""
    from lerobot.configs import PreTrainedConfig
    from lerobot.policies.factory import get_policy_class, make_pre_post_processors
    from lerobot.policies.utils import prepare_observation_for_inference

    config = PreTrainedConfig.from_pretrained(folder)
    policy = get_policy_class(config.type).from_pretrained(folder)
    before, after = make_pre_post_processors(config, folder)
    device = torch.device("cpu")
    state, images = _seen()

    def once() -> Any:
        frame: dict[str, Any] = {"observation.state": state.copy()}
        for name, image in images.items():
            frame[f"observation.images.{name}"] = image.copy()
        batch = before(prepare_observation_for_inference(frame, device, TASK))
        return after(policy.predict_action_chunk(batch))[0].numpy()

    return once


def adapter(folder: str, options: dict[str, Any]) -> Callable[[], Any]:
    """One chunk by the adapter, without any other process."""
    from holdfast.policy.base import Observation
    from holdfast.policy.lerobot.policy import LeRobotPolicy

    policy = LeRobotPolicy(folder, **options)
    state, images = _seen()
    return lambda: policy.predict_chunk([Observation(state, images, TASK)])


def _seen() -> tuple[Any, dict[str, Any]]:
    rng = np.random.default_rng(0)
    images = {name: rng.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8) for name in CAMERAS}
    return np.zeros(JOINTS, np.float32), images


def ask(folder: str, options: str) -> None:
    torch.set_num_threads(1)  # as replicas do
    once = {"library": library(folder), "adapter": adapter(folder, json.loads(options))}

    def timed(word: str) -> float:
        began_s = time.perf_counter()
        once[word]()
        return (time.perf_counter() - began_s) * 1e3

    line_server.serve(timed)


if __name__ == "__main__":
    lerobot_act.make(sys.argv[1], WIDTH, HEIGHT)
    ask(sys.argv[1], sys.argv[2])
