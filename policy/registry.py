"""Policies by kind. Only the kinds that need torch import it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from .base import ChunkPolicy, PolicyError
from .checkpoint import Config

if TYPE_CHECKING:
    from .encoder import EncodingNetwork

KINDS = ("flow", "act", "constant", "shape-only")


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
    try:
        match kind:
            case "flow":
                from .flow import FlowPolicy

                return FlowPolicy(checkpoint, device=device, dtype=dtype, **options)
            case "act":
                from .act import ActPolicy

                return ActPolicy(checkpoint, device=device, dtype=dtype, **options)
            case "constant":
                from .synthetic import ConstantPolicy

                return ConstantPolicy(checkpoint, **options)
            case _:
                from .synthetic import ShapeOnlyPolicy

                return ShapeOnlyPolicy(checkpoint, **options)
    except ModuleNotFoundError as error:
        raise PolicyError(
            f"policy kind '{kind}' needs {error.name}, which is not installed; "
            "install the policy extra: pip install 'holdfast[policy]'"
        ) from error
    except TypeError as error:
        raise PolicyError(f"policy kind '{kind}': {error}") from error


def untrained_network(config: Config) -> EncodingNetwork:
    """The network that `config` describes, fresh; needs torch."""
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
