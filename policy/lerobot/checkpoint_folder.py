"""Where the files of a LeRobot checkpoint are, and their hash.

This module imports neither torch nor lerobot.
"""

from __future__ import annotations

import hashlib
import importlib
from pathlib import Path

from ...errors import PolicyError

CONFIG, WEIGHTS = "config.json", "model.safetensors"
PATTERNS = ("*.json", "*.safetensors")
"""The files that a policy is loaded from."""

_BLOCK_BYTES = 1 << 22


def folder_of(checkpoint: str | None, revision: str | None, whole: bool) -> Path:
    """The directory of `checkpoint`, a directory or an id of the hub: in its cache, else downloaded
    there, only the configuration unless `whole`. Raises PolicyError."""
    if not checkpoint:
        raise PolicyError(
            "policy lerobot needs a checkpoint: add `checkpoint:`, the directory that "
            "save_pretrained wrote, or an id of the hub, e.g. user/pick"
        )
    place = Path(checkpoint).expanduser()
    if place.is_dir():
        if not (place / CONFIG).is_file():
            raise PolicyError(
                f"checkpoint {checkpoint} has no {CONFIG}: name the directory that save_pretrained "
                "wrote, of a training run .../checkpoints/last/pretrained_model"
            )
        return place
    try:
        hub = importlib.import_module("huggingface_hub")
    except ModuleNotFoundError as error:
        raise PolicyError(_not_installed(error)) from error
    at = f" --revision {revision}" if revision else ""
    remedy = (
        f"`hf download {checkpoint}{at}` where there is a network and no HF_HUB_OFFLINE, or name "
        "its directory"
    )
    try:
        if whole:
            patterns = list(PATTERNS)
            folder = Path(
                hub.snapshot_download(checkpoint, revision=revision, allow_patterns=patterns)
            )
        else:
            folder = Path(hub.hf_hub_download(checkpoint, CONFIG, revision=revision)).parent
    except Exception as error:
        line = " ".join(str(error).split())
        raise PolicyError(
            f"checkpoint {checkpoint!r} is no directory here, is not in the cache of the hub, and "
            f"cannot be downloaded ({type(error).__name__}: {line:.200}): {remedy}"
        ) from error
    # Without a network, what the cache has of a snapshot is returned, however little.
    absent = [name for name in (CONFIG, WEIGHTS) if whole and not (folder / name).is_file()]
    if absent:
        raise PolicyError(
            f"checkpoint {checkpoint!r}: {folder} has no {' and no '.join(absent)}: a "
            f"download that did not finish, or no policy of LeRobot's; {remedy}"
        )
    return folder


def _not_installed(error: ModuleNotFoundError) -> str:
    return (
        f"policy lerobot needs {error.name}, which is not installed here: `pip install lerobot`, "
        "or name the interpreter of the environment that has it by `python:` of the service"
    )


def hash_of(folder: Path, *options: object) -> str:
    """SHA-256 in hex of the names and bytes of the files that a policy is loaded from, and of what
    changes it."""
    digest = hashlib.sha256(repr(options).encode())
    for path in sorted(p for pattern in PATTERNS for p in folder.glob(pattern)):
        digest.update(f"\n{path.name} {path.stat().st_size}\n".encode())
        with path.open("rb") as file:
            while block := file.read(_BLOCK_BYTES):
                digest.update(block)
    return digest.hexdigest()
