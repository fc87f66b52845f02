"""The weights of a directory as a network: every tensor of either side has its place in the other.

Both libraries load what fits and print the rest; a model that is half untrained then moves a robot.
Here a missing, unexpected or misshapen tensor is an error.
"""

from __future__ import annotations

from collections.abc import Collection, Container, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from ...errors import PolicyError
from ..tensor_header import read_header
from .architecture import Architecture
from .checkpoint_layout import WEIGHTS
from .pali_gemma import PaliGemma
from .tensor_names import UNUSED, WORDS, WORDS_OUT, published_name

_SHOWN = 4
_TIED = {WORDS: WORDS_OUT, WORDS_OUT: WORDS}
Network = TypeVar("Network", bound=PaliGemma)


def load_network(
    kind: type[Network],
    folder: Path,
    architecture: Architecture,
    device: torch.device,
    dtype: torch.dtype,
) -> Network:
    """The network of a `kind` with the directory's weights, for inference; on the device `meta`
    without their values, after the same checks. Raises PolicyError that names the tensors which do
    not fit."""
    file = folder / WEIGHTS
    with torch.device("meta"):
        network = kind(architecture)
    header = read_header(file)
    stored = {name.removeprefix("model."): name for name in header}
    sources: dict[str, str | None] = {}
    places, wrong = {}, []
    for name, value in network.state_dict().items():
        published = published_name(name, architecture.family)
        source = sources[published] = _source(published, stored)
        if source is None:
            continue
        places[name] = stored[source]
        if (shape := header[stored[source]].shape) != tuple(value.shape):
            wrong.append(f"{source} is {list(shape)}, expected {list(value.shape)}")
    _check(file, sources, stored.keys(), wrong)
    if device.type != "meta":
        network.load_state_dict(_values(file, places, device, dtype), assign=True)
    return network.eval().requires_grad_(requires_grad=False)


def _values(
    file: Path, places: Mapping[str, str], device: torch.device, dtype: torch.dtype
) -> dict[str, Tensor]:
    """The tensors of a network, by the names that they have in the file."""
    try:
        with safe_open(file, "pt", device=str(device)) as tensors:
            return {name: tensors.get_tensor(place).to(dtype) for name, place in places.items()}
    except (OSError, SafetensorError) as error:
        raise PolicyError(f"{file}: not readable as safetensors: {error}") from error


def _source(published: str, stored: Container[str]) -> str | None:
    """The tensor of a file that is `published`; of tied ones the other will do."""
    for name in (published, _TIED.get(published)):
        if name is not None and name in stored:
            return name
    return None


def _check(
    file: Path, sources: Mapping[str, str | None], stored: Collection[str], wrong: Sequence[str]
) -> None:
    faults = []
    if missing := [name for name, source in sources.items() if source is None]:
        faults.append(f"lacks {_listed(missing)}")
    # The output layer of words: LeRobot's training of a model that has none may leave another one.
    if unexpected := set(stored) - {*sources.values()} - {*UNUSED, WORDS_OUT}:
        faults.append(f"has {_listed(unexpected)}, for which the model has no place")
    if wrong:
        faults.append(_listed(wrong, "sizes"))
    if faults:
        raise PolicyError(f"{file}: {'; '.join(faults)}: it is not a checkpoint of this model")


def _listed(names: Iterable[str], what: str = "tensors") -> str:
    found = sorted(names)
    rest = f" and {len(found) - _SHOWN} more {what}" if len(found) > _SHOWN else ""
    return ", ".join(found[:_SHOWN]) + rest
