"""openpi's own PyTorch files, imported from a folder of its repository as they lie there.

openpi asks its users to copy some files over those of the installed transformers
(`src/openpi/models_pytorch/transformers_replace`). Here they are found before the installed ones,
in this process alone.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

REPLACED = ("gemma", "paligemma", "siglip")
NETWORK = Path("src/openpi/models_pytorch/pi0_pytorch.py")
"""The file by which a folder is known as openpi's."""


class OpenpiFiles(NamedTuple):
    """The modules that a model is made of."""

    network: ModuleType
    """`PI0Pytorch`."""
    transformers: ModuleType
    """PaliGemma and the expert, made of classes of transformers."""
    gemma: ModuleType
    """The sizes of Gemma by name."""
    preparation: ModuleType
    """Images at the model's size."""


def openpi_files(folder: Path) -> OpenpiFiles:
    """The modules of openpi's `folder`. Raises FileNotFoundError for another folder, and
    ModuleNotFoundError for an interpreter that lacks what they import."""
    if not (folder / NETWORK).is_file():
        raise FileNotFoundError(f"{folder} is no folder of openpi's: it has no {NETWORK}")
    sys.path.insert(0, str(folder / "src"))
    replaced = folder / NETWORK.parent / "transformers_replace/models"
    for model in REPLACED:
        package = importlib.import_module(f"transformers.models.{model}")
        package.__path__.insert(0, str(replaced / model))
    return OpenpiFiles(
        *(
            importlib.import_module(f"openpi.{name}")
            for name in (
                "models_pytorch.pi0_pytorch",
                "models_pytorch.gemma_pytorch",
                "models.gemma",
                "models_pytorch.preprocessing_pytorch",
            )
        )
    )
