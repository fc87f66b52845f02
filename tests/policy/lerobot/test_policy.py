"""LeRobot's policies through the adapter, in an interpreter with the library."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from holdfast.errors import PolicyError
from holdfast.tests.peers.lerobot_checkpoints import MakeCheckpoint

PROGRAM = """
import json, sys
from dataclasses import replace
import numpy as np
from holdfast.errors import PolicyError
from holdfast.policy.lerobot.policy import LeRobotPolicy

checkpoint, change, options = json.loads(sys.argv[1])
sys.stdout = sys.stderr
try:
    if change == "untrained":
        from safetensors.torch import save_model
        import lerobot.policies.pretrained as pretrained
        pretrained.PreTrainedPolicy._load_as_safetensor = classmethod(
            lambda cls, model, *given: model)
    policy = LeRobotPolicy(checkpoint, **options)
    given = [policy.spec.example(k) for k in range(3)]
    alone = [policy.predict_chunk([each])[0] for each in given]
    together = policy.predict_chunk(given)
    said = {
        "apart": max(float(np.abs(a.robot - b.robot).max()) for a, b in zip(alone, together)),
        "differ": float(np.abs(alone[0].robot - alone[1].robot).max()),
        "shape": alone[0].robot.shape,
    }
except PolicyError as error:
    said = {"error": str(error)}
sys.__stdout__.write(json.dumps(said))
"""

Ask = Callable[..., dict[str, Any]]


@pytest.fixture
def ask(lerobot: Path, lerobot_environment: dict[str, str]) -> Ask:
    """Load a checkpoint there, and predict for three observations, alone and together."""

    def run(checkpoint: Path | str, change: str = "", **options: Any) -> dict[str, Any]:
        done = subprocess.run(
            [lerobot, "-P", "-c", PROGRAM, json.dumps([str(checkpoint), change, options])],
            check=True,
            stdout=subprocess.PIPE,
            timeout=180,
            env={**os.environ, **lerobot_environment},
        )
        return dict(json.loads(done.stdout))

    return run


@pytest.fixture
def act(checkpoint_of: MakeCheckpoint, tmp_path: Path) -> Path:
    """A copy of a checkpoint, to be spoilt."""
    return Path(shutil.copytree(checkpoint_of("act"), tmp_path / "act"))


@pytest.mark.timeout(240)
@pytest.mark.parametrize("family", ["act", "smolvla"])
def test_a_batch_gives_what_each_gets_alone(
    checkpoint_of: MakeCheckpoint, ask: Ask, family: str
) -> None:
    """Within the tolerance of float32 sums in another order; the noise is that of each seed."""
    said = ask(checkpoint_of(family))
    assert said["shape"] == [45, 5]
    assert said["apart"] < 1e-5 < said["differ"]


@pytest.mark.timeout(240)
def test_a_network_that_the_library_left_untrained_is_refused(act: Path, ask: Ask) -> None:
    """Every tensor is compared with the file."""
    error = ask(act, "untrained")["error"]
    assert "has other values than in model.safetensors" in error
    assert "did not load" in error


@pytest.mark.timeout(240)
def test_normalization_without_statistics_is_refused(act: Path, ask: Ask) -> None:
    """The library would pass the values unchanged."""
    file = act / "policy_postprocessor.json"
    steps = json.loads(file.read_text())
    del steps["steps"][0]["state_file"]
    file.write_text(json.dumps(steps))
    error = ask(act)["error"]
    assert "policy_postprocessor has no statistics of action" in error


@pytest.mark.timeout(240)
def test_a_checkpoint_of_the_hub_that_is_not_here_is_a_clear_error(ask: Ask) -> None:
    """Offline, and not in the cache: what to run where there is a network."""
    error = ask("user/no_such_policy", revision="3f2a")["error"]
    assert "'user/no_such_policy' is no directory here" in error
    assert "`hf download user/no_such_policy --revision 3f2a`" in error


def test_without_the_library_the_error_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hub's id needs the hub's package."""
    import sys

    from holdfast.policy.lerobot.files import folder_of

    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(PolicyError, match=r"needs huggingface_hub.*`python:`"):
        folder_of("user/pick", None, whole=True)
