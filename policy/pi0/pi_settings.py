"""`PiSettings`: what config.json says of a π0 or π0.5 that `holdfast-train` made. No torch."""

from __future__ import annotations

from typing import Any, Self

import msgspec

from ...errors import PolicyError
from ..checkpoint import Config
from .architecture import Architecture, Family, NetworkSizes


class PiSettings(NetworkSizes, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The `network` of such a config.json: sizes, and what the robot's data go through.

    Attributes:
        mapping: the embodiment of `policy.steps` whose steps stand between robot and model; empty
            for those of a robot that is known by its names alone.
        discrete_state_input: whether π0.5 reads the state in its text.
        prompt: the instruction of observations that have none.
        prompt_tokens: the most tokens of a prompt; 0 for 48 (π0) or 200 (π0.5).
        euler_steps: from noise to actions.
    """

    mapping: str = ""
    discrete_state_input: bool = True
    prompt: str = ""
    prompt_tokens: int = 0
    euler_steps: int = 10

    def architecture(self, family: Family, steps: int) -> Architecture:
        """That of a network with chunks of so many steps."""
        return Architecture(family=family, steps=steps, **_sizes_of(self))

    def sized_as(self, architecture: Architecture) -> Self:
        """The same with the sizes of another network."""
        return msgspec.structs.replace(self, **_sizes_of(architecture))


def _sizes_of(whole: NetworkSizes) -> dict[str, Any]:
    """The fields of the sizes alone."""
    return {name: getattr(whole, name) for name in NetworkSizes.__struct_fields__}


def settings_of(config: Config) -> PiSettings:
    """Those in the `network` of a config.json. Raises PolicyError."""
    try:
        return msgspec.convert(config.network, PiSettings)
    except msgspec.ValidationError as error:
        raise PolicyError(f"config.json: network: {error}") from error
