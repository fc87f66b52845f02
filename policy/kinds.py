"""Policies by kind. Only the kinds that need torch import it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from ..errors import PolicyError
from .base import ChunkPolicy
from .checkpoint import Config, read_spec
from .policy_options import OPTIONS, options_of

if TYPE_CHECKING:
    from .encoder import EncodingNetwork

KINDS = tuple(OPTIONS)


def load_policy(
    kind: str,
    checkpoint: str | os.PathLike[str],
    device: str = "cpu",
    dtype: str = "float32",
    **options: Any,
) -> ChunkPolicy:
    """The policy of `checkpoint` (a shipped name or a path) on `device`.

    `constant` and `shape-only` take the checkpoint's spec and none of its weights. Raises
    PolicyError when there is no such kind, checkpoint or option, or torch is not installed.
    """
    if kind not in KINDS:
        raise PolicyError(f"no policy kind '{kind}'; there are: {', '.join(KINDS)}")
    typed = options_of(kind, options)
    for fault in typed.conflicts(read_spec(checkpoint)):
        raise PolicyError(f"options of policy kind '{kind}': {fault}")
    try:
        match kind:
            case "flow":
                from .flow import FlowPolicy

                return FlowPolicy(checkpoint, device=device, dtype=dtype, **typed.given())
            case "act":
                from .act import ActPolicy

                return ActPolicy(checkpoint, device=device, dtype=dtype, **typed.given())
            case "constant":
                from .synthetic import ConstantPolicy

                return ConstantPolicy(checkpoint, **typed.given())
            case _:
                from .synthetic import ShapeOnlyPolicy

                return ShapeOnlyPolicy(checkpoint, **typed.given())
    except ModuleNotFoundError as error:
        raise PolicyError(
            f"policy kind '{kind}' needs {error.name}, which is not installed; "
            "install the policy extra: pip install 'holdfast[policy]'"
        ) from error


def untrained_network(config: Config) -> EncodingNetwork:
    """The untrained network that `config` describes; needs torch. Raises PolicyError."""
    from .encoder import Sizes
    from .learned import network_config

    match config.kind:
        case "flow":
            from .flow_network import FlowConfig, FlowNetwork

            return FlowNetwork(network_config(config, FlowConfig), Sizes.of(config))
        case "act":
            from .act import ActConfig, ActNetwork

            return ActNetwork(network_config(config, ActConfig), Sizes.of(config))
        case _:
            raise PolicyError(f"no trainable policy kind '{config.kind}'; there are: flow, act")
