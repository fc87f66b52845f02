"""The weights of a directory as a network: every tensor of either side has its place in the other.

Both libraries load what fits and print the rest; a model that is half untrained then moves a robot.
Here a missing, unexpected or misshapen tensor is an error.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from ...errors import PolicyError
from ..tensor_header import read_header
from .architecture import Architecture
from .checkpoint_layout import WEIGHTS
from .pi_network import PiNetwork
from .tensor_names import UNUSED, WORDS, WORDS_OUT, published_name

_SHOWN = 4


def load_network(
    folder: Path, architecture: Architecture, device: torch.device, dtype: torch.dtype
) -> PiNetwork:
    """The network with the directory's weights, for inference. Raises PolicyError that names the
    tensors which do not fit."""
    with torch.device("meta"):
        network = PiNetwork(architecture)
    own = {
        published_name(name, architecture.family): (name, tuple(value.shape))
        for name, value in network.state_dict().items()
    }
    header = read_header(folder / WEIGHTS)
    shapes = {name.removeprefix("model."): tensor.shape for name, tensor in header.items()}
    _check(folder / WEIGHTS, {name: shape for name, (_, shape) in own.items()}, shapes)
    state: dict[str, Tensor] = {}
    try:
        with safe_open(folder / WEIGHTS, "pt", device=str(device)) as stored:
            for name in stored.keys():  # noqa: SIM118  it is no mapping
                plain = name.removeprefix("model.")
                if plain == WORDS_OUT and WORDS in shapes:
                    continue  # LeRobot's training may move the one and leave the other
                if plain not in UNUSED:
                    target, _ = own[WORDS if plain == WORDS_OUT else plain]
                    state[target] = stored.get_tensor(name).to(dtype)
    except (OSError, SafetensorError) as error:
        raise PolicyError(f"{folder / WEIGHTS}: not readable as safetensors: {error}") from error
    network.load_state_dict(state, assign=True)
    return network.eval().requires_grad_(requires_grad=False)


def _check(file: Path, own: dict[str, tuple[int, ...]], stored: dict[str, tuple[int, ...]]) -> None:
    given = dict(stored)
    words = given.pop(WORDS_OUT, None)
    if words is not None:
        given.setdefault(WORDS, words)
    for name in UNUSED:
        given.pop(name, None)
    faults = []
    if missing := own.keys() - given.keys():
        faults.append(f"lacks {_listed(missing)}")
    if unexpected := given.keys() - own.keys():
        faults.append(f"has {_listed(unexpected)}, for which the model has no place")
    wrong = [
        f"{name} is {list(given[name])}, expected {list(shape)}"
        for name, shape in own.items()
        if given.get(name, shape) != shape
    ]
    if wrong:
        faults.append(_listed(wrong, "sizes"))
    if faults:
        raise PolicyError(f"{file}: {'; '.join(faults)}: it is not a checkpoint of this model")


def _listed(names: Iterable[str], what: str = "tensors") -> str:
    found = sorted(names)
    rest = f" and {len(found) - _SHOWN} more {what}" if len(found) > _SHOWN else ""
    return ", ".join(found[:_SHOWN]) + rest
