"""The same adapter in LeRobot 0.4.4 on Python 3.11."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from holdfast.policy.lerobot.files import options_of, spec_of
from holdfast.tests.peers.environments import interpreter_of
from holdfast.tests.peers.lerobot_checkpoints import (
    Asked,
    EnvironmentFor,
    adapter,
    asker,
    in_episode,
    maker,
)

FAMILIES = ("act", "diffusion", "vqbet", "tdmpc")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def test_its_policies_give_the_bytes_of_its_own_calls(
    lerobot_environment: EnvironmentFor, tmp_path: Path
) -> None:
    """Each of its families that needs nothing but the library; one it lacks names the versions."""
    python = interpreter_of("lerobot-0.4")
    places = maker(python, lerobot_environment, tmp_path / "made")(*FAMILIES)
    asked: list[Asked] = []
    for place in places:
        spec = spec_of(place, str(place), None, options_of({}))
        given = [spec.example(seed) for seed in range(3)]
        if spec.observation_steps > 1:
            given = in_episode(given, spec.observation_steps)
        asked.append((place, given))
    wanted = asker(python, lerobot_environment, tmp_path)(asked)
    newer = Path(shutil.copytree(places[0], tmp_path / "newer"))
    config = json.loads((newer / "config.json").read_text())
    (newer / "config.json").write_text(
        json.dumps({**config, "type": "multi_task_dit", "n_action_steps": 8})
    )
    *got, refused = adapter(python, lerobot_environment("act"), tmp_path)(
        [*((place, {}, given) for place, given in asked), (newer, {}, None)]
    )
    for chunks, each in zip(wanted, got, strict=True):
        assert np.asarray(each["alone"], np.float32).tobytes() == chunks.tobytes()
    assert "LeRobot 0.4.4 cannot load" in refused["error"]
    assert "supported are 0.4.4 to 0.6.1" in refused["error"]
