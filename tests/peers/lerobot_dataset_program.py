"""A program for an interpreter with LeRobot's dataset extra: writes a small dataset, or loads one,
through the library alone.

    lerobot_dataset_program.py make ROOT EXPECTED.npz
    lerobot_dataset_program.py load ROOT FOUND.npz
    lerobot_dataset_program.py recompute ROOT
    lerobot_dataset_program.py train ROOT
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from lerobot.datasets.dataset_tools import recompute_stats
from lerobot.datasets.lerobot_dataset import LeRobotDataset

FPS, LENGTHS = 10, (7, 12, 5)
TASKS = ("pick the red parcel", "pick the blue parcel")
FEATURES = {
    "observation.state": {"dtype": "float32", "shape": (3,), "names": ["x", "y", "yaw"]},
    "action": {"dtype": "float32", "shape": (2,), "names": ["x", "y"]},
    "observation.images.top": {
        "dtype": "video",
        "shape": (48, 64, 3),
        "names": ["height", "width", "channels"],
    },
    "reward": {"dtype": "float32", "shape": (1,), "names": None},
}


def picture(number: int) -> np.ndarray:
    """An image whose grey value says its number."""
    return np.full((48, 64, 3), 20 + 9 * number, np.uint8)


def make(root: str, expected: str) -> None:
    """Write a dataset of three episodes of two tasks, all in one file, and what went into it."""
    dataset = LeRobotDataset.create(
        "lab/small", FPS, FEATURES, root=root, use_videos=True, video_backend="pyav"
    )
    random = np.random.default_rng(5)
    states, actions = [], []
    for episode, length in enumerate(LENGTHS):
        for frame in range(length):
            states.append(random.normal(size=3).astype(np.float32))
            actions.append(random.normal(size=2).astype(np.float32))
            dataset.add_frame(
                {
                    "observation.state": states[-1],
                    "action": actions[-1],
                    "observation.images.top": picture(frame + episode),
                    "reward": np.array([frame], np.float32),
                    "task": TASKS[episode % 2],
                }
            )
        dataset.save_episode()
    dataset.finalize()
    np.savez(expected, states=states, actions=actions, lengths=LENGTHS)


def load(root: str, found: str) -> None:
    """Save what the library finds in a dataset: counts, all vectors, and every image."""
    dataset = LeRobotDataset("lab/small", root=root, video_backend="pyav", return_uint8=True)
    meta = dataset.meta
    items = [dataset[index] for index in range(len(dataset))]
    columns = [key for key, of in meta.features.items() if of["dtype"] != "video"]
    arrays = {key: np.stack([item[key].numpy() for item in items]) for key in columns}
    arrays |= {key: np.stack([item[key].numpy() for item in items]) for key in meta.video_keys}
    report = {
        "fps": meta.fps,
        "episodes": meta.total_episodes,
        "frames": len(dataset),
        "lengths": [int(value) for value in meta.episodes["length"]],
        "tasks": [item["task"] for item in items],
        "success": list(meta.episodes["success"]) if "success" in meta.episodes.features else [],
    }
    arrays["report"] = np.array(json.dumps(report))
    np.savez(found, allow_pickle=False, **arrays)


def recompute(root: str) -> None:
    """Replace the numeric statistics by the library's own."""
    dataset = LeRobotDataset("lab/small", root=root, video_backend="pyav")
    recompute_stats(dataset)


def train(root: str) -> None:
    """One optimizer step of ACT on one batch; prints the loss."""
    from lerobot.policies.act.configuration_act import ACTConfig
    from lerobot.policies.act.modeling_act import ACTPolicy
    from lerobot.policies.factory import make_pre_post_processors
    from lerobot.utils.feature_utils import dataset_to_policy_features

    dataset = LeRobotDataset("lab/small", root=root, video_backend="pyav")
    meta = dataset.meta
    features = dataset_to_policy_features(meta.features)
    outputs = {key: of for key, of in features.items() if of.type.value == "ACTION"}
    config = ACTConfig(
        input_features={key: of for key, of in features.items() if key not in outputs},
        output_features=outputs,
        chunk_size=4,
        n_action_steps=4,
        dim_model=32,
        n_heads=2,
        dim_feedforward=32,
        n_encoder_layers=1,
        n_vae_encoder_layers=1,
        latent_dim=8,
        pretrained_backbone_weights=None,
        device="cpu",
    )
    ahead = [step / meta.fps for step in range(config.chunk_size)]
    dataset = LeRobotDataset(
        "lab/small", root=root, video_backend="pyav", delta_timestamps={"action": ahead}
    )
    policy = ACTPolicy(config)
    before, _ = make_pre_post_processors(config, dataset_stats=meta.stats)
    loader = torch.utils.data.DataLoader(dataset, batch_size=4, shuffle=True)
    loss, _ = policy.forward(before(next(iter(loader))))
    optimizer = torch.optim.AdamW(policy.parameters(), 1e-4)
    loss.backward()
    optimizer.step()
    assert torch.isfinite(loss)
    print("inputs:", ", ".join(sorted(config.input_features)))
    print(f"loss {loss.item():.4f}")


if __name__ == "__main__":
    _, what, *arguments = sys.argv
    Path(arguments[0]).parent.mkdir(parents=True, exist_ok=True)
    programs: dict[str, Callable[..., None]] = {
        "make": make,
        "load": load,
        "recompute": recompute,
        "train": train,
    }
    programs[what](*arguments)
