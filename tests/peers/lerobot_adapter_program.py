"""A program for an interpreter with LeRobot: asks checkpoints through the adapter.

    lerobot_adapter_program.py QUESTIONS.json ANSWERS.json

A question is [checkpoint, options, inputs]; its inputs are those of `lerobot_program.py`, or null
for three examples. The answer of one has the chunks in robot space of each observation alone and of
all together, the mode, or the error.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from holdfast.errors import PolicyError
from holdfast.policy.base import Chunk, Observation
from holdfast.policy.lerobot.policy import LeRobotPolicy


def observations(policy: LeRobotPolicy, inputs: str) -> list[Observation]:
    """Those of the file, each of a session of its own where the policy is shared."""
    given = np.load(inputs)
    found = []
    for k in range(len(given["seed"])):
        steps = int(given["prefix_steps"][k])
        several = "state_history" in given
        found.append(
            Observation(
                state=given["observation.state"][k],
                images={name: given[key][k] for key, name in policy._visual.items()},
                task=str(given["task"][k]),
                seed=int(given["seed"][k]),
                prefix=given["prefix"][k][:steps] if steps else None,
                prefix_robot=given["prefix_robot"][k][:steps] if steps else None,
                delay_steps=int(given["delay_steps"][k]),
                execution_horizon=int(given["execution_horizon"][k]) or None,
                guidance_schedule=str(given["guidance_schedule"][k]) or None,  # type: ignore[arg-type]
                guidance_clip=float(given["guidance_clip"][k]) or None,
                state_history=given["state_history"][k] if several else None,
                image_history={
                    name: given[f"{key}.history"][k] for key, name in policy._visual.items()
                }
                if several
                else {},
                session="" if policy.spec.stateful else f"r{k}",
            )
        )
    return found


def answer(checkpoint: str, options: dict[str, Any], inputs: str | None) -> dict[str, Any]:
    """Of one question."""
    try:
        policy = LeRobotPolicy(checkpoint, **options)
        if inputs is None:
            given = [policy.spec.example(seed) for seed in range(3)]
        else:
            given = observations(policy, inputs)
        alone = _robot([policy.predict_chunk([each])[0] for each in given])
        together = None if policy.spec.stateful else _robot(policy.predict_chunk(given))
    except PolicyError as error:
        return {"error": str(error)}
    return {"alone": alone, "together": together, "prefix": policy.spec.prefix}


def _robot(chunks: Sequence[Chunk]) -> Any:
    return [chunk.robot.tolist() for chunk in chunks]  # float32 to float64: exact


if __name__ == "__main__":
    torch.set_num_threads(1)  # as a replica: sums in another order have other last bits
    questions = json.loads(Path(sys.argv[1]).read_text())
    Path(sys.argv[2]).write_text(json.dumps([answer(*each) for each in questions]))
