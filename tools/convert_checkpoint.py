"""`holdfast-convert`: a checkpoint of openpi's JAX form as a directory that `policy: pi0 | pi05 |
pi0_fast` serves.

    holdfast-convert ~/.cache/openpi/openpi-assets/checkpoints/pi05_libero ~/pi05_libero --steps 10

The checkpoint is the directory that has `params/` and `assets/`; the parameters are read by orbax
(`pip install orbax-checkpoint jax`), on the CPU. Every parameter has its place in the network and
the other way round, or nothing is written. Weights stay in the dtype in which they are, unless
`--dtype` says otherwise.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from ..errors import PolicyError
from ..policy.pi0.checkpoint_layout import CONFIG, WEIGHTS
from ..policy.pi0.jax_names import JaxCheckpoint, Parameters
from ..policy.pi0.tensor_names import published_name

_SHOWN = 4
_MEMORY = "all weights are held in memory"


def converted(parameters: Parameters, steps: int) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """The tensors of model.safetensors by name, and what config.json says. Raises PolicyError for
    parameters of another model."""
    try:
        checkpoint = JaxCheckpoint(parameters, steps)
        family = checkpoint.architecture.family
        tensors = {published_name(name, family): each for name, each in checkpoint.tensors()}
    except KeyError as error:
        raise PolicyError(
            f"the parameters lack {error}: they are not those of π0, π0.5 or π0-FAST"
        ) from error
    except (ValueError, IndexError) as error:
        raise PolicyError(
            f"a parameter has another shape than π0, π0.5 and π0-FAST have: {error}"
        ) from error
    if unused := checkpoint.unused:
        more = f" and {len(unused) - _SHOWN} more" if len(unused) > _SHOWN else ""
        raise PolicyError(
            f"the parameters {', '.join(unused[:_SHOWN])}{more} have no place in {family}"
            + (": merge the LoRA weights first" if any("lora" in path for path in unused) else "")
        )
    sizes = msgspec.to_builtins(checkpoint.architecture)
    del sizes["family"], sizes["steps"]
    actions = checkpoint.architecture.actions
    return tensors, {"architecture": sizes, "action_horizon": steps, "action_dim": actions}


def read_parameters(folder: Path) -> Parameters:
    """All parameters below `folder`/params, by path. Raises PolicyError."""
    try:
        import orbax.checkpoint as ocp
    except ModuleNotFoundError as error:
        raise PolicyError(
            f"{folder}: openpi's JAX checkpoints are read by {error.name}, which is not installed: "
            "pip install orbax-checkpoint jax"
        ) from error
    place = (folder / "params").resolve()
    if not place.is_dir():
        raise PolicyError(f"{folder}: expected a directory with params/, as openpi downloads it")
    checkpointer = ocp.PyTreeCheckpointer()
    try:
        tree = checkpointer.metadata(place).item_metadata.tree
        arguments = _each(tree, lambda _: ocp.RestoreArgs(restore_type=np.ndarray))
        restored = checkpointer.restore(place, args=ocp.args.PyTreeRestore(restore_args=arguments))
    except (OSError, ValueError) as error:
        raise PolicyError(f"{place}: orbax cannot read it: {error}") from error
    return dict(_flat(restored.get("params", restored)))


def write(
    folder: Path, tensors: dict[str, NDArray[Any]], config: dict[str, Any], dtype: str | None
) -> None:
    """Write weights and config.json, the config last: a directory without it is not whole."""
    from safetensors.numpy import save_file

    folder.mkdir(parents=True, exist_ok=True)
    kept = {name: np.ascontiguousarray(_in(each, dtype)) for name, each in tensors.items()}
    save_file(kept, folder / WEIGHTS)
    (folder / CONFIG).write_text(json.dumps(config, indent=2) + "\n")


def main(words: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="holdfast-convert",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("checkpoint", type=Path, help="the directory with params/ and assets/")
    parser.add_argument("output", type=Path, help="a directory that does not exist, or is empty")
    parser.add_argument(
        "--steps", type=int, required=True, help="of a chunk: action_horizon of openpi's config"
    )
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), help="of the weights")
    given = parser.parse_args(words)
    if given.steps < 1:
        parser.error(f"--steps: found {given.steps}, expected 1 or more")
    if given.output.exists() and (not given.output.is_dir() or any(given.output.iterdir())):
        parser.error(f"{given.output} is not empty: name a directory that does not exist yet")
    try:
        print(f"reads {given.checkpoint} ({_MEMORY})", flush=True)
        tensors, config = converted(read_parameters(given.checkpoint), given.steps)
    except PolicyError as error:
        print(error, file=sys.stderr)
        return 2
    write(given.output, tensors, config, given.dtype)
    assets = given.checkpoint / "assets"
    if assets.is_dir():
        shutil.copytree(assets, given.output / "assets")
    count = sum(each.size for each in tensors.values())
    print(f"{given.output}: {len(tensors)} tensors, {count / 1e9:.2f} thousand million numbers")
    if not assets.is_dir():
        print(f"{given.checkpoint} has no assets/: its statistics are missing, copy them there")
    return 0


def command() -> None:
    """The script's entry."""
    sys.exit(main(sys.argv[1:]))


def _each(tree: Any, made: Any) -> Any:
    if isinstance(tree, dict):
        return {name: _each(branch, made) for name, branch in tree.items()}
    return made(tree)


def _flat(tree: Any, path: str = "") -> Any:
    if isinstance(tree, dict):
        for name, branch in tree.items():
            yield from _flat(branch, f"{path}/{name}" if path else str(name))
    else:
        yield path, np.asarray(tree)


def _in(array: NDArray[Any], dtype: str | None) -> NDArray[Any]:
    if dtype is None:
        return array
    import ml_dtypes

    return array.astype(ml_dtypes.bfloat16 if dtype == "bfloat16" else np.float32)


if __name__ == "__main__":
    command()
