"""What a directory of π0 or π0.5 holds: openpi's PyTorch files, LeRobot's, or those of
`holdfast-train`. No torch.

| | openpi | LeRobot | here |
|---|---|---|---|
| weights | model.safetensors | model.safetensors | model.safetensors |
| sizes | config.json of its converter, or none | config.json | config.json |
| statistics | assets/ID/norm_stats.json | policy_preprocessor.json and its file | norm_stats.json |

The first two name the published sizes of Gemma only. A model of other sizes has an `architecture`
in its config.json, with the fields of `Architecture`.

Sources: openpi 15a9616, `examples/convert_jax_model_to_pytorch.py`, `scripts/train_pytorch.py`,
`src/openpi/models/pi0_config.py`; lerobot 0.6.1, `policies/pi0*/configuration_pi0*.py`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, get_args

import msgspec

from ...errors import PolicyError
from ..checkpoint import read_config
from ..tensor_header import read_header
from .architecture import GEMMA, Architecture, Family, FlowFamily, Origin
from .pi_options import NOT_HOLDFAST, ONLY_LEROBOT, ONLY_OPENPI, PiOptions
from .pi_settings import settings_of

CONFIG, WEIGHTS = "config.json", "model.safetensors"
PROMPT_TOKENS: dict[Family, int] = {"pi0": 48, "pi05": 200, "pi0_fast": 200}
_EULER_STEPS = 10
_DECODED_TOKENS = 256
_ONLY: dict[Family, str] = {"pi0": "state_proj.", "pi05": "time_mlp_in."}
"""How the names begin of tensors that one family has and the others lack."""

_NOT_OF: dict[Origin, tuple[str, ...]] = {
    "openpi": ONLY_LEROBOT,
    "lerobot": ONLY_OPENPI,
    "holdfast": NOT_HOLDFAST,
}
_WHY: dict[Origin, str] = {
    "openpi": "it is for LeRobot's files, and {folder} has not these",
    "lerobot": "it is for openpi's files, and {folder} has not these",
    "holdfast": "{folder} says it itself, as it was trained",
}


class CheckpointLayout(msgspec.Struct, frozen=True, kw_only=True):
    """A checkpoint before its weights are read. `prompt_tokens` are the most of a prompt,
    `decoded_tokens` the most action tokens of a chunk (π0-FAST); `reads_state` is whether π0.5 has
    the state in its text."""

    folder: Path
    origin: Origin
    architecture: Architecture
    prompt_tokens: int
    euler_steps: int
    decoded_tokens: int = _DECODED_TOKENS
    reads_state: bool = True
    config: dict[str, Any]


def read_layout(checkpoint: str | None, family: Family, options: PiOptions) -> CheckpointLayout:
    """The layout of a directory. Raises PolicyError."""
    folder = _folder(checkpoint, family)
    config = _config(folder)
    origin = _origin(config)
    _refuse_other_family(folder, family, config)
    for name in _NOT_OF[origin]:
        if getattr(options, name) is not None:
            raise PolicyError(f"options: {name}: {_WHY[origin].format(folder=folder)}: remove it")
    if origin == "holdfast":
        return _trained_here(folder, family, options, config)
    # LeRobot's π0-FAST decodes only the steps that it executes.
    own = config.get("n_action_steps") if family == "pi0_fast" else config.get("chunk_size")
    steps = own or config.get("action_horizon") or options.chunk_size
    if steps is None:
        raise PolicyError(
            f"{folder} has no {CONFIG} with the length of a chunk: give it by `options: "
            "{chunk_size: N}`, the action_horizon of the training's config (10 in pi05_libero)"
        )
    limit = config.get("tokenizer_max_length") or PROMPT_TOKENS[family]
    return CheckpointLayout(
        folder=folder,
        origin=origin,
        architecture=_architecture(folder, family, config, steps),
        prompt_tokens=int(limit),
        euler_steps=options.euler_steps or int(config.get("num_inference_steps") or _EULER_STEPS),
        decoded_tokens=options.decoding_steps
        or int(config.get("max_decoding_steps") or _DECODED_TOKENS),
        reads_state=options.discrete_state_input is not False,
        config=config,
    )


def read_sizes(checkpoint: str, family: Family) -> tuple[Path, Architecture]:
    """The directory of a checkpoint of any origin, and the sizes of its network; the steps of a
    chunk may be others. Raises PolicyError."""
    here = _origin(_config(_folder(checkpoint, family))) == "holdfast"
    layout = read_layout(checkpoint, family, PiOptions(chunk_size=None if here else 1))
    return layout.folder, layout.architecture


def _origin(config: dict[str, Any]) -> Origin:
    if "spec" in config and "kind" in config:
        return "holdfast"
    return "lerobot" if "type" in config else "openpi"


def _trained_here(
    folder: Path, family: Family, options: PiOptions, config: dict[str, Any]
) -> CheckpointLayout:
    own = read_config(folder)
    settings = settings_of(own)
    return CheckpointLayout(
        folder=folder,
        origin="holdfast",
        architecture=settings.architecture(family, own.spec.chunk_size),
        prompt_tokens=settings.prompt_tokens or PROMPT_TOKENS[family],
        euler_steps=options.euler_steps or settings.euler_steps,
        reads_state=settings.discrete_state_input,
        config=config,
    )


def _folder(checkpoint: str | None, family: Family) -> Path:
    if not checkpoint:
        raise PolicyError(
            f"policy {family} needs a checkpoint: add `checkpoint:`, the directory of openpi's "
            "PyTorch files or of LeRobot's"
        )
    folder = Path(checkpoint).expanduser()
    if not (folder / WEIGHTS).is_file():
        jax = (folder / "params").is_dir()
        raise PolicyError(
            f"checkpoint {checkpoint!r} has no {WEIGHTS}"
            + (
                f": it is openpi's JAX form: `holdfast-convert {checkpoint} OUTPUT --steps N`"
                if jax
                else ": expected the directory of openpi's PyTorch files or of LeRobot's"
            )
        )
    return folder


def _config(folder: Path) -> dict[str, Any]:
    file = folder / CONFIG
    if not file.is_file():
        return {}
    try:
        config = json.loads(file.read_text())
    except (OSError, ValueError) as error:
        raise PolicyError(f"{file}: not readable as JSON: {error}") from error
    if not isinstance(config, dict):
        raise PolicyError(f"{file}: a {type(config).__name__}, expected a map")
    return config


def _refuse_other_family(folder: Path, family: Family, config: dict[str, Any]) -> None:
    said = config.get("kind" if _origin(config) == "holdfast" else "type")
    names = [name.removeprefix("model.") for name in read_header(folder / WEIGHTS)]
    others = [
        other
        for other, begin in _ONLY.items()
        if other != family and any(name.startswith(begin) for name in names)
    ]
    if said not in (None, family):
        found = str(said)
    elif others:
        found = others[0]
    else:
        return
    lerobots = _origin(config) == "lerobot" and found not in PROMPT_TOKENS
    kind = "lerobot" if lerobots else found
    training = f", or train it as {found}" if found in get_args(FlowFamily) else ""
    raise PolicyError(
        f"{folder} is a checkpoint of {found}, not of {family}: write `policy: {kind}`{training}"
    )


def _architecture(
    folder: Path, family: Family, config: dict[str, Any], steps: object
) -> Architecture:
    given = config.get("architecture")
    try:
        if given is not None:
            return msgspec.convert({**given, "family": family, "steps": steps}, Architecture)
        height, width = config.get("image_resolution") or (224, 224)
        if height != width:
            raise ValueError(f"image_resolution is {height} x {width}, expected a square")
        actions = config.get("max_action_dim") or config.get("action_dim") or 32
        known = {
            "family": family,
            "vision": {"pixels": height},
            "language": GEMMA[config.get("paligemma_variant") or "gemma_2b"],
            "expert": GEMMA[config.get("action_expert_variant") or "gemma_300m"],
            "actions": actions,
            "states": config.get("max_state_dim") or actions,
            "steps": steps,
            "shortest_period": config.get("min_period") or 4e-3,
            "longest_period": config.get("max_period") or 4.0,
        }
        return msgspec.convert(known, Architecture)
    except KeyError as error:
        variants = ", ".join(GEMMA)
        raise PolicyError(
            f"{folder / CONFIG}: no Gemma is called {error}; known are {variants}"
        ) from error
    except (msgspec.ValidationError, ValueError, TypeError) as error:
        raise PolicyError(f"{folder / CONFIG}: {error}") from error
