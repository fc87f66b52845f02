"""Checkpoints: a directory of config.json, model.safetensors and norm_stats.json.

Reading the spec, the hash and the statistics needs no torch: the supervisor checks fleet.yaml
against a policy that its own host may be unable to run. The hash covers the bytes of the three
files and no other file beside them.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from ..errors import PolicyError
from .base import PolicySpec
from .normalize import Mode, Stats
from .tensor_header import read_header

CONFIG, WEIGHTS, STATS = "config.json", "model.safetensors", "norm_stats.json"
FILES = (CONFIG, WEIGHTS, STATS)
SHIPPED = Path(__file__).parent / "checkpoints"

T = TypeVar("T", bound=msgspec.Struct)


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """config.json: the policy, its network and its training.

    Attributes:
        kind: the kind of policy: `flow`, `act`, `pi0` or `pi05`.
        spec: the policy's contract.
        network: the fields of the kind's own config.
        vocabulary: the words of instructions, in the order of their numbers.
        state_mode: how states are normalized.
        action_mode: how actions are normalized.
        relative_actions: the actions that are offsets from the request's state of the same name.
        action_limits: the command range of the demonstrations' robot, lower and upper by action.
        state_bound: the bound of a normalized state for the network, in standard deviations or half
            quantile ranges, by `state_mode`.
        training: how the checkpoint was made, for people; no code reads it.
    """

    kind: str
    spec: PolicySpec
    network: dict[str, Any]
    vocabulary: tuple[str, ...] = ()
    state_mode: Mode = "zscore"
    action_mode: Mode = "zscore"
    relative_actions: tuple[str, ...] = ()
    action_limits: tuple[tuple[float, ...], tuple[float, ...]] | None = None
    state_bound: Annotated[float, msgspec.Meta(gt=0)] = 10.0
    training: dict[str, Any] = {}


class NormStats(msgspec.Struct, frozen=True):
    """norm_stats.json: the statistics of states and actions."""

    state: Stats
    action: Stats


def shipped() -> list[str]:
    """Names of the checkpoints that come with the package."""
    if not SHIPPED.is_dir():
        return []
    return sorted(p.name for p in SHIPPED.iterdir() if (p / CONFIG).is_file())


def resolve(name: str | os.PathLike[str]) -> Path:
    """The directory of a checkpoint, given as a path or as the name of a shipped one.

    Raises PolicyError that lists the shipped ones.
    """
    for directory in (Path(name).expanduser(), SHIPPED / str(name)):
        if _exists(directory / CONFIG):
            return directory
    available = ", ".join(shipped()) or "none"
    if _exists(Path(name)):
        raise PolicyError(f"no checkpoint in {name}: it holds no {CONFIG} (shipped: {available})")
    raise PolicyError(
        f"no checkpoint '{name}': neither a directory nor one of those shipped ({available}); "
        "train one with: holdfast-train"
    )


def _exists(path: Path) -> bool:
    """Whether `path` exists. False also for a path that is too long for the file system, has a zero
    byte, or is in a directory without read permission."""
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def read_config(checkpoint: str | os.PathLike[str]) -> Config:
    """config.json, validated. Raises PolicyError that names the file and the fault."""
    return _read(resolve(checkpoint) / CONFIG, Config)


def read_spec(checkpoint: str | os.PathLike[str]) -> PolicySpec:
    """The spec of a checkpoint. Raises PolicyError."""
    return read_config(checkpoint).spec


def read_stats(checkpoint: str | os.PathLike[str]) -> NormStats:
    """norm_stats.json, validated against the spec. Quantiles may be empty where they are not used.
    Raises PolicyError."""
    directory = resolve(checkpoint)
    stats, config = _read(directory / STATS, NormStats), read_config(directory)
    for name, have, names, mode in (
        ("state", stats.state, config.spec.state_names, config.state_mode),
        ("action", stats.action, config.spec.action_names, config.action_mode),
    ):
        unused = mode == "zscore" and not have.q01 and not have.q99
        values = (have.mean, have.std) if unused else msgspec.structs.astuple(have)
        sizes, want = {len(each) for each in values}, len(names)
        if sizes != {want}:
            raise PolicyError(
                f"{directory / STATS}: {name} has {sorted(sizes)} entries where the spec "
                f"names {want}; config.json and norm_stats.json are not of the same training"
            )
    return stats


def read_weights(checkpoint: str | os.PathLike[str]) -> dict[str, NDArray[np.generic]]:
    """The tensors of model.safetensors by name. Raises PolicyError."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    path = resolve(checkpoint) / WEIGHTS
    try:
        return dict(load_file(path))
    except (OSError, SafetensorError) as error:
        raise PolicyError(f"{path}: not readable as safetensors: {error}") from error


def check_whole(checkpoint: str | os.PathLike[str]) -> None:
    """Check, without loading it, that a checkpoint is complete: its three files exist, the
    statistics fit the spec, and the weights have the length in their header. Raises PolicyError."""
    directory = resolve(checkpoint)
    missing = [name for name in FILES if not (directory / name).is_file()]
    if missing:
        raise PolicyError(
            f"{directory} is not a whole checkpoint: it lacks {', '.join(missing)}; it takes "
            f"{', '.join(FILES)}"
        )
    read_stats(directory)
    read_header(directory / WEIGHTS)


def checkpoint_hash(checkpoint: str | os.PathLike[str]) -> str:
    """SHA-256 of names, sizes and bytes of the checkpoint's files, 64 hex digits. Raises
    PolicyError."""
    directory, digest = resolve(checkpoint), hashlib.sha256()
    for name in FILES:
        try:
            content = (directory / name).read_bytes()
        except OSError as error:
            raise PolicyError(
                f"{directory} is not a whole checkpoint: {name} cannot be read "
                f"({error.strerror}); it takes {', '.join(FILES)}"
            ) from error
        digest.update(f"{name} {len(content)}\n".encode())
        digest.update(content)
    return digest.hexdigest()


def save(
    directory: str | os.PathLike[str],
    config: Config,
    stats: NormStats,
    weights: Mapping[str, NDArray[Any]],
) -> str:
    """Write a checkpoint and return its hash. The same arguments give the same bytes.

    Each file is replaced atomically, config.json last. A crash between two files leaves a mix of
    old and new files, until the next save.
    """
    from safetensors.numpy import save as to_bytes

    target = Path(directory)
    target.mkdir(parents=True, exist_ok=True)
    ordered = {name: np.ascontiguousarray(weights[name]) for name in sorted(weights)}
    for name, content in (
        (WEIGHTS, to_bytes(ordered)),
        (STATS, _json(stats)),
        (CONFIG, _json(config)),
    ):
        replace_file(target / name, content)
    return checkpoint_hash(target)


def replace_file(path: Path, content: bytes) -> None:
    """Write a file that is whole at every instant: the old one, or the new one."""
    partial = path.with_name(f".{path.name}.partial")
    partial.write_bytes(content)
    partial.replace(path)


def _json(value: msgspec.Struct) -> bytes:
    return msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n"


def _read(path: Path, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except OSError as error:
        raise PolicyError(f"{path}: cannot be read ({error.strerror})") from error
    except msgspec.MsgspecError as error:
        raise PolicyError(f"{path}: {error}; expected what `holdfast-train` writes") from error
