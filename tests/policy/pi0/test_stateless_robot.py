"""`policy: pi0` and `pi05` for robots that have no state."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from holdfast.policy.pi0.pi_policy import Pi0Policy, Pi05Policy, PiPolicy
from holdfast.tests.peers.small_pi_checkpoint import STEPS, write_openpi_checkpoint


@pytest.mark.parametrize(("family", "kind"), [("pi0", Pi0Policy), ("pi05", Pi05Policy)])
def test_a_checkpoint_of_lerobot_without_a_state_is_served(
    family: str, kind: type[PiPolicy], tmp_path: Path
) -> None:
    """A robot that sends only images gets a chunk."""
    folder = write_openpi_checkpoint(tmp_path / family, family)
    architecture = json.loads((folder / "config.json").read_text())["architecture"]
    image = {"type": "VISUAL", "shape": [3, 32, 48]}
    lerobots = {
        "type": family,
        "chunk_size": STEPS,
        "input_features": {"observation.images.top": image},
        "output_features": {"action": {"type": "ACTION", "shape": [3]}},
        "architecture": architecture,
    }
    (folder / "config.json").write_text(json.dumps(lerobots))
    policy = kind(str(folder), euler_steps=2)
    assert policy.spec.state_names == ()
    (chunk,) = policy.predict_chunk([policy.spec.example(0, "pick")])
    assert chunk.robot.shape == (STEPS, 3) and np.isfinite(chunk.robot).all()
