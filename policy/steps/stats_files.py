"""Statistics of states and actions in the files of openpi and of LeRobot.

| what | file | keys |
|---|---|---|
| openpi, a checkpoint or its assets | `assets/ID/norm_stats.json` | `state`, `actions` |
| LeRobot, a dataset | `meta/stats.json` | `observation.state`, `action` |
| LeRobot, a policy's checkpoint | `policy_preprocessor.json` and a safetensors file | likewise |
| Holdfast, a checkpoint | `norm_stats.json` | `state`, `action` |

All are read with openpi's keys. openpi's statistics are of what its steps have made of a dataset
(ALOHA's actions are differences by then), LeRobot's of the dataset itself: those of one are of use
to a model of the other only where the steps do not change the values.

Sources: openpi, `src/openpi/shared/normalize.py`; lerobot 0.6.1, `datasets/io_utils.py`,
`processor/pipeline.py`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...errors import PolicyError
from ..normalize import Stats

FILE = "norm_stats.json"
RENAMED = {"observation.state": "state", "action": "actions"}
_NORMALIZER = "normalizer_processor"
_PREPROCESSOR = "policy_preprocessor.json"
_PLACES = (FILE, "meta/stats.json", "stats.json", _PREPROCESSOR)


def read_norm_stats(place: str | os.PathLike[str], asset: str | None = None) -> dict[str, Stats]:
    """The statistics in a file or directory of the table above, by openpi's keys.

    `asset` is the directory below `assets/`, for a checkpoint with several. Statistics of images
    are left out. Raises PolicyError that says what was looked for, and what is there.
    """
    file = _file(Path(place).expanduser(), asset)
    raw = _of_lerobot(file) if file.name == _PREPROCESSOR else _json(file)
    if "norm_stats" in raw:
        raw = raw["norm_stats"]
        if not isinstance(raw, dict):
            raise PolicyError(f"{file}: norm_stats is a {type(raw).__name__}, expected a map")
    else:  # LeRobot has statistics of indices and times too
        raw = {key: each for key, each in raw.items() if key in ("state", *RENAMED)}
    found = {}
    for key, entry in raw.items():
        if isinstance(entry, dict) and (stats := _stats(file, key, entry)) is not None:
            found[RENAMED.get(key, key)] = stats
    if not found:
        raise PolicyError(
            f"{file} holds no mean and std of states or actions: expected norm_stats, or entries "
            f"of {', '.join(RENAMED)}"
        )
    return found


def write_norm_stats(directory: str | os.PathLike[str], stats: Mapping[str, Stats]) -> Path:
    """Write `directory`/norm_stats.json as openpi reads it, and return its path."""
    target = Path(directory)
    target.mkdir(parents=True, exist_ok=True)
    content = {
        key: {
            "mean": each.mean,
            "std": each.std,
            "q01": each.q01 or None,
            "q99": each.q99 or None,
        }
        for key, each in stats.items()
    }
    partial = target / f".{FILE}.partial"
    partial.write_text(json.dumps({"norm_stats": content}, indent=2))
    return partial.replace(target / FILE)


def _file(place: Path, asset: str | None) -> Path:
    if place.is_file():
        return place
    assets = place / "assets" if (place / "assets").is_dir() else place
    if asset is not None:
        return _of_asset(assets, asset)
    for name in _PLACES:
        if (place / name).is_file():
            return place / name
    found = sorted(assets.glob(f"**/{FILE}"))
    if len(found) == 1:
        return found[0]
    if found:
        names = ", ".join(str(each.parent.relative_to(assets)) for each in found)
        raise PolicyError(f"{assets} has the statistics of several assets ({names}): name one")
    raise PolicyError(
        f"{place} holds no statistics: looked for {', '.join(_PLACES)} and assets/*/{FILE}"
    )


def _of_asset(assets: Path, asset: str) -> Path:
    file = assets / asset / FILE
    if file.is_file():
        return file
    there = sorted(str(each.parent.relative_to(assets)) for each in assets.glob(f"**/{FILE}"))
    raise PolicyError(
        f"{file}: cannot be read; {assets} has the statistics of {', '.join(there) or 'no asset'}"
    )


def _json(file: Path) -> dict[str, Any]:
    try:
        raw = json.loads(file.read_text())
    except OSError as error:
        raise PolicyError(f"{file}: cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise PolicyError(f"{file}: not readable as JSON: {error}") from error
    if not isinstance(raw, dict):
        raise PolicyError(f"{file}: a {type(raw).__name__}, expected a map of statistics by key")
    return raw


def _of_lerobot(file: Path) -> dict[str, Any]:
    """The statistics of a processor pipeline's normalizer."""
    steps = _json(file).get("steps") or ()
    states = [s.get("state_file") for s in steps if s.get("registry_name") == _NORMALIZER]
    if len(states) != 1 or not states[0]:
        raise PolicyError(f"{file} has {len(states)} {_NORMALIZER} with a file, expected one")
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        tensors = load_file(file.parent / states[0])
    except (OSError, SafetensorError) as error:
        raise PolicyError(f"{file.parent / states[0]}: not readable: {error}") from error
    raw: dict[str, Any] = {}
    for name, tensor in tensors.items():
        key, _, statistic = name.rpartition(".")
        raw.setdefault(key, {})[statistic] = tensor.tolist()
    return raw


def _stats(file: Path, key: str, entry: Mapping[str, Any]) -> Stats | None:
    """The entry's statistics; None for those of an image, and for what has neither mean nor
    deviation."""
    given = {name: entry.get(name) for name in ("mean", "std", "q01", "q99")}
    if given["mean"] is None or given["std"] is None or _is_deep(given["mean"]):
        return None
    try:
        made = Stats(**{n: tuple(map(float, v)) for n, v in given.items() if v is not None})
    except (TypeError, ValueError) as error:
        raise PolicyError(f"{file}: {key}: {error}; expected lists of numbers") from error
    sizes = {len(each) for each in (made.mean, made.std, made.q01, made.q99) if each}
    if len(sizes) != 1 or bool(made.q01) != bool(made.q99):
        raise PolicyError(f"{file}: {key} has statistics of {sorted(sizes)} values, expected one")
    return made


def _is_deep(values: Any) -> bool:
    return isinstance(values, list) and any(isinstance(each, list) for each in values)
