"""A script that serves and a script that plays what it serves."""

from __future__ import annotations

from typing import Any

import numpy as np

from holdfast import PolicySpec, RemotePolicy
from holdfast.actors.control.plan import Floats
from holdfast.policy.base import CameraFeature
from holdfast.tests.waiting import wait_until

ACTIONS = ("x", "y")
STATES = ("x", "y", "speed")
SPEC = PolicySpec(
    model="counting",
    revision="1",
    cameras=(CameraFeature("top", 32, 24),),
    state_names=STATES,
    action_names=ACTIONS,
    chunk_size=20,
    fps=50.0,
)
SCRIPT = """
import sys
import numpy as np
from holdfast import Chunk, PolicySpec, serve
from holdfast.policy.base import CameraFeature

SPEC = PolicySpec(model="counting", revision="1", cameras=(CameraFeature("top", 32, 24),),
                  state_names=("x", "y", "speed"), action_names=("x", "y"), chunk_size=20, fps=50.0)

def predict(batch):
    steps = np.arange(20, dtype=np.float32)[:, None]
    chunks = [np.hstack((steps, steps * 0 + o.images["top"].mean())) for o in batch]
    return [Chunk(c.astype(np.float32), c.astype(np.float32)) for c in chunks]

serve(predict, SPEC, service="pick", broker=sys.argv[1])
"""


def robot(broker: dict[str, str], name: str | None = "script", **options: Any) -> RemotePolicy:
    return RemotePolicy(
        "pick",
        robot=name,
        action_names=ACTIONS,
        state_names=STATES,
        cameras={"top": (64, 48)},
        fps=50.0,
        broker=broker["front"],
        **options,
    )


def observation(level: int = 100) -> dict[str, object]:
    return {
        "state": np.zeros(3, np.float32),
        "images": {"top": np.full((48, 64, 3), level, np.uint8)},
    }


def streams(policy: RemotePolicy) -> None:
    """Call `act` until the policy is STREAMING."""
    wait_until(
        lambda: policy.act(observation()) is not None and policy.state == "STREAMING", "the stream"
    )


def first_action(policy: RemotePolicy) -> Floats:
    """Call `act` until there is an action."""

    def action() -> tuple[Floats] | None:
        found = policy.act(observation())
        return None if found is None else (found,)

    return wait_until(action, "an action")[0]
