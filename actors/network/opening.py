"""The OPEN that a network actor sends to the broker."""

from __future__ import annotations

import os
import socket

import msgspec

from ...transport.bodies import Open
from ...transport.host import boot_id
from ...transport.outbox import Outbox
from ..runtime.configs import NetworkConfig


def as_policy_says(asked: Open, config: NetworkConfig) -> Open:
    """Control's OPEN with the policy's names, and the cameras and tags of `config`."""
    return msgspec.structs.replace(
        asked,
        action_names=config.action_names,
        state_names=config.state_names,
        cameras={name: (feed.width, feed.height) for name, feed in config.cameras.items()},
        tags={**config.tags, **asked.tags},
        observation_window_steps=min(asked.observation_window_steps, config.history_steps)
        if config.cameras
        else asked.observation_window_steps,
    )


def completed(asked: Open, config: NetworkConfig, outbox: Outbox | None, incarnation: int) -> Open:
    """Control's OPEN with all that only its network actor knows: names, cameras, the offer of
    shared memory, and where the robot lives."""
    return msgspec.structs.replace(
        as_policy_says(asked, config),
        boot_id=boot_id(),
        outbox_nonce=outbox.nonce if outbox else 0,
        incarnation=incarnation,
        host=config.host or socket.gethostname(),
        pid=os.getpid(),
        kind="script" if config.script else "fleet",
    )
