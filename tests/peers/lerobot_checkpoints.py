"""Small checkpoints of LeRobot's families, and the library itself in its own interpreter."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from holdfast.policy.base import Observation
from holdfast.tests.peers.environments import importable, interpreter_of

PROGRAM = Path(__file__).with_name("lerobot_program.py")
ADAPTER_PROGRAM = Path(__file__).with_name("lerobot_adapter_program.py")
PLUGIN = Path(__file__).with_name("lerobot_policy_small_gemma.py")
PI = ("pi0", "pi05", "pi0_fast")
"""The families that are small by `PLUGIN` only."""

MakeCheckpoints = Callable[..., list[Path]]
"""The directories of checkpoints, of the families that are given. A name may end by -relative."""

Asked = tuple[Path, Sequence[Observation]]
Direct = Callable[[Sequence[Asked]], list[NDArray[np.float32]]]
"""The chunks [N, H, A] of each checkpoint for a sequence of observations."""

AdapterQuestion = tuple[Path | str, dict[str, Any], Sequence[Observation] | None]
AskAdapter = Callable[[Sequence[AdapterQuestion]], list[dict[str, Any]]]
"""For each checkpoint with its options, and observations or None for examples: the chunks of each
`alone` and of all `together`, or the `error`."""

EnvironmentFor = Callable[[str], dict[str, str]]
"""The variables under which a family, or a checkpoint's directory of its name, is loaded."""


@pytest.fixture(scope="session")
def lerobot() -> Path:
    """The interpreter with LeRobot."""
    return interpreter_of("lerobot-0.6")


@pytest.fixture(scope="session")
def lerobot_environment(tmp_path_factory: pytest.TempPathFactory) -> EnvironmentFor:
    """In which it imports the checkout under test, and downloads nothing."""
    path = importable(tmp_path_factory.mktemp("path"))
    plugins = tmp_path_factory.mktemp("plugins")
    (plugins / PLUGIN.name).symlink_to(PLUGIN)
    about = plugins / f"{PLUGIN.stem}-1.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {PLUGIN.stem}\nVersion: 1\n")
    cache = tmp_path_factory.mktemp("huggingface")

    def variables(family: str) -> dict[str, str]:
        places = f"{path}{os.pathsep}{plugins}" if family.startswith(PI) else str(path)
        return {"PYTHONPATH": places, "HF_HUB_OFFLINE": "1", "HF_HOME": str(cache)}

    return variables


@pytest.fixture(scope="session")
def checkpoints_of(
    lerobot: Path, lerobot_environment: EnvironmentFor, tmp_path_factory: pytest.TempPathFactory
) -> MakeCheckpoints:
    """Checkpoints, written by the library's own save_pretrained."""
    return maker(lerobot, lerobot_environment, tmp_path_factory.mktemp("checkpoints"))


def maker(python: Path, environment: EnvironmentFor, folder: Path) -> MakeCheckpoints:
    """Makes checkpoints below `folder`, each once."""

    def make(*names: str) -> list[Path]:
        absent = [name for name in names if not (folder / name).exists()]
        if absent:
            words = [word for name in absent for word in (name, str(folder / name))]
            run_program(python, ["make", *words], environment(_one_for_all(absent)))
        return [folder / name for name in names]

    return make


@pytest.fixture(scope="session")
def direct(
    lerobot: Path, lerobot_environment: EnvironmentFor, tmp_path_factory: pytest.TempPathFactory
) -> Direct:
    """What the library alone gives for sequences of observations, each of batch size 1."""
    return asker(lerobot, lerobot_environment, tmp_path_factory.mktemp("direct"))


def asker(python: Path, environment: EnvironmentFor, folder: Path) -> Direct:
    """Asks the library in `python`; files go below `folder`."""

    def ask(asked: Sequence[Asked]) -> list[NDArray[np.float32]]:
        place = Path(tempfile.mkdtemp(dir=folder))
        words, outputs = ["chunk"], [place / f"{k}.npy" for k in range(len(asked))]
        for (checkpoint, given), output in zip(asked, outputs, strict=True):
            inputs = output.with_suffix(".npz")
            np.savez(inputs, **arrays_of(given))
            words += [str(checkpoint), str(inputs), str(output)]
        run_program(python, words, environment(_one_for_all([c.name for c, _ in asked])))
        return [np.load(output) for output in outputs]

    return ask


def adapter(python: Path, variables: dict[str, str], folder: Path) -> AskAdapter:
    """Asks through the adapter in `python`; files go below `folder`."""

    def ask(questions: Sequence[AdapterQuestion]) -> list[dict[str, Any]]:
        words = []
        for k, (checkpoint, options, given) in enumerate(questions):
            inputs = None if given is None else str(folder / f"{k}.npz")
            if inputs is not None and given is not None:
                np.savez(inputs, **arrays_of(given))
            words.append([str(checkpoint), options, inputs])
        asked, answered = folder / "questions.json", folder / "answers.json"
        asked.write_text(json.dumps(words))
        environment = {**os.environ, **variables}
        command: list[str | Path] = [python, "-P", ADAPTER_PROGRAM, asked, answered]
        subprocess.run(command, check=True, timeout=280, env=environment)
        return [dict(each) for each in json.loads(answered.read_text())]

    return ask


def _one_for_all(names: Sequence[str]) -> str:
    """A family whose environment does for all of them."""
    return next((name for name in names if name.startswith(PI)), names[0])


def run_program(python: Path, words: Sequence[str], variables: dict[str, str]) -> None:
    """Run `PROGRAM` in the interpreter."""
    environment = {**os.environ, **variables}
    subprocess.run([python, "-P", PROGRAM, *words], check=True, timeout=280, env=environment)


def in_episode(given: Sequence[Observation], steps: int) -> list[Observation]:
    """Each with the last `steps` of `given`, itself included; the first stands for those before."""
    found = []
    for place, observation in enumerate(given):
        last = [given[max(place - back, 0)] for back in range(steps - 1, -1, -1)]
        found.append(
            replace(
                observation,
                state_history=np.stack([each.state for each in last]),
                image_history={
                    name: np.stack([each.images[name] for each in last])
                    for name in observation.images
                },
            )
        )
    return found


def arrays_of(given: Sequence[Observation]) -> dict[str, Any]:
    """Observations as arrays by feature; prefixes are padded with zeros."""
    steps = [0 if each.prefix is None else len(each.prefix) for each in given]
    arrays: dict[str, Any] = {
        "seed": np.asarray([each.seed for each in given]),
        "task": np.asarray([each.task for each in given]),
        "delay_steps": np.asarray([each.delay_steps for each in given]),
        "prefix_steps": np.asarray(steps),
        "execution_horizon": np.asarray([each.execution_horizon or 0 for each in given]),
        "guidance_schedule": np.asarray([each.guidance_schedule or "" for each in given]),
        "guidance_clip": np.asarray([each.guidance_clip or 0.0 for each in given]),
        "observation.state": np.stack([each.state for each in given]),
    }
    for name in given[0].images:
        # TD-MPC has one camera, without the word between.
        key = "observation.image" if name == "image" else f"observation.images.{name}"
        arrays[key] = np.stack([each.images[name] for each in given])
        if given[0].image_history:
            arrays[f"{key}.history"] = np.stack([each.image_history[name] for each in given])
    histories = [each.state_history for each in given if each.state_history is not None]
    if histories:
        arrays["state_history"] = np.stack(histories)
    for name in ("prefix", "prefix_robot"):
        rows = [getattr(each, name) for each in given]
        width = max((row.shape[1] for row in rows if row is not None), default=0)
        padded = np.zeros((len(given), max(steps), width), np.float32)
        for place, row in zip(padded, rows, strict=True):
            if row is not None:
                place[: len(row)] = row
        arrays[name] = padded
    return arrays
