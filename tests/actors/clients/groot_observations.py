"""Observations for the shipped policies in the layouts of GR00T's clients."""

from __future__ import annotations

from typing import Any

import numpy as np

from holdfast.tests.actors.clients.groot_client import GrootClient, Version

VERSIONS: tuple[Version, ...] = ("n1.5", "n1.6", "n1.7")
TEXT = "put the red parcel into the left bin"


def images(*batch: int) -> dict[str, Any]:
    """Videos of the shipped policies' cameras, one of another size than theirs."""
    overhead = np.zeros((*batch, 1, 96, 128, 3), np.uint8)
    return {"overhead": overhead, "wrist": np.zeros((*batch, 1, 120, 160, 3), np.uint8)}


def states(value: Any, *batch: int) -> dict[str, Any]:
    """A state which is this everywhere: the constant policy's actions are then this value too."""
    full = np.ones((*batch, 1, 1), np.float32) * np.float32(value)
    return {"single_arm": np.tile(full, 6), "gripper": full}


def n15(value: float = 0.0) -> dict[str, Any]:
    """An observation as N1.5's clients send it."""
    return {
        **{f"video.{key}": video for key, video in images().items()},
        **{f"state.{key}": state for key, state in states(value).items()},
        "annotation.human.action.task_description": [TEXT],
    }


def nested(*values: float) -> dict[str, Any]:
    """Observations as those of N1.6 and N1.7 do, one for each value."""
    rows = len(values)
    state = states(np.array(values).reshape(rows, 1, 1), rows)
    language = {"annotation.human.task_description": [[TEXT]] * rows}
    return {"video": images(rows), "state": state, "language": language}


def asked(client: GrootClient, value: float) -> dict[str, Any]:
    """The actions for an observation in the layout of the client's version, by key, [H, D]."""
    if client.version == "n1.5":
        found = client.get_action(n15(value))
        return {key.removeprefix("action."): part for key, part in found.items()}
    actions, info = client.get_action(nested(value))
    assert info == {}
    return {key: part[0] for key, part in actions.items()}
