"""What becomes of a robot's OPEN on its way out: the policy's names, and the cameras."""

from __future__ import annotations

import msgspec

from ...transport.messages import Open
from ..runtime.configs import NetworkConfig


def as_policy_says(asked: Open, config: NetworkConfig) -> Open:
    """Control's OPEN in the policy's names, with the cameras that only `config` knows."""
    return msgspec.structs.replace(
        asked,
        action_names=config.action_names,
        state_names=config.state_names,
        cameras={name: (feed.width, feed.height) for name, feed in config.cameras.items()},
        tags={**config.tags, **asked.tags},
    )
