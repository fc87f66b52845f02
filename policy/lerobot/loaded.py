"""What LeRobot loaded, against the files that it was loaded from.

Its loader may return an untrained network, or a normalization without statistics, and log a line:
the weights are loaded with `strict=False`, and a feature without statistics passes unchanged.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ...errors import PolicyError
from .checkpoint_folder import WEIGHTS

_SHOWN = 4


def verify(policy: Any, processors: Sequence[Any], folder: Path) -> None:
    """Compare every tensor of the network and every statistic of the processors with the files.
    Raises PolicyError that names the first that differ."""
    wrong = [*_weights(policy, folder)]
    for processor in processors:
        wrong += [*_statistics(processor, folder), *_inert(processor)]
    if wrong:
        more = f" and {len(wrong) - _SHOWN} more" if len(wrong) > _SHOWN else ""
        raise PolicyError(
            f"LeRobot did not load what {folder} holds: {'; '.join(wrong[:_SHOWN])}{more}: the "
            "files are incomplete, or of another version of lerobot; export the checkpoint again "
            "with save_pretrained of the policy and of both processors"
        )


def _weights(policy: Any, folder: Path) -> Iterator[str]:
    torch = importlib.import_module("torch")
    safetensors = importlib.import_module("safetensors")
    held = policy.state_dict()
    try:
        stored = safetensors.safe_open(folder / WEIGHTS, framework="pt")
    except (OSError, safetensors.SafetensorError) as error:
        yield f"{WEIGHTS} cannot be read ({error})"
        return
    with stored:
        there = sources(policy, stored.keys(), held)
        seen = {held[name].data_ptr() for name in there.keys() & held.keys()}
        for name, value in held.items():
            if name not in there:
                # A tensor of two names is stored once.
                if value.data_ptr() not in seen and value.numel():
                    yield f"{name} is not in {WEIGHTS}, it was left untrained"
                continue
            wanted = stored.get_tensor(there[name])
            if wanted.shape != value.shape:
                yield f"{name} is {list(value.shape)}, in {WEIGHTS} {list(wanted.shape)}"
            elif not torch.equal(wanted.to(value.dtype), value.detach().cpu()):
                yield f"{name} has other values than in {WEIGHTS}"
        for name in sorted(there.keys() - held.keys()):
            yield f"{there[name]} of {WEIGHTS} is in no part of the network"


class _StoredName(str):
    """The name of a tensor in the place of the tensor, which the library may copy."""

    __slots__ = ()

    def clone(self) -> _StoredName:
        return self


def sources(policy: Any, stored: Iterable[str], held: Container[str]) -> dict[str, str]:
    """The stored name of each tensor by its name in the network: the same, or what the family's own
    loader makes of it (older checkpoints of pi0 and its descendants)."""
    names: Mapping[str, str] = {name: _StoredName(name) for name in stored}
    if callable(fix := getattr(policy, "_fix_pytorch_state_dict_keys", None)):
        names = fix(names, policy.config)
    return {
        name if name in held or f"model.{name}" not in held else f"model.{name}": str(source)
        for name, source in names.items()
    }


def _statistics(processor: Any, folder: Path) -> Iterator[str]:
    """By the names of the state files that the processor's configuration lists."""
    torch = importlib.import_module("torch")
    load = importlib.import_module("safetensors.torch").load_file
    file = folder / f"{processor.name}.json"
    listed = json.loads(file.read_text())["steps"]
    for entry, step in zip(listed, processor.steps, strict=True):
        if not (state := entry.get("state_file")):
            continue
        stored, held = load(folder / state), step.state_dict()
        for name in sorted(stored.keys() | held.keys()):
            if name not in held or name not in stored:
                place = state if name in held else "what was loaded"
                yield f"statistic {name} is not in {place}"
            elif not torch.equal(stored[name].float().flatten(), held[name].float().flatten()):
                yield f"statistic {name} has other values than in {state}"


def _inert(processor: Any) -> Iterator[str]:
    """Features that shall be normalized and have no statistics for it."""
    for step in processor.steps:
        modes = getattr(step, "norm_map", None)
        if modes is None:
            continue
        for name, feature in step.features.items():
            mode = modes.get(feature.type)
            if mode is None or mode.value == "IDENTITY" or "empty_camera" in name:
                continue
            if not step.state_dict() or not any(
                key.rpartition(".")[0] == name for key in step.state_dict()
            ):
                yield (
                    f"{processor.name} has no statistics of {name}, which is to be normalized "
                    f"({mode.value})"
                )
