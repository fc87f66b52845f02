"""Devices and types of numbers by name, checked against what this machine has."""

from __future__ import annotations

import torch

from ..errors import PolicyError


def device_of(name: str) -> torch.device:
    """The device `name`. Raises PolicyError if this machine or this build of torch lacks it."""
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise PolicyError(f"no device '{name}'; expected cpu, cuda, cuda:N or mps") from error
    available = {
        "cuda": torch.cuda.device_count() if torch.cuda.is_available() else 0,
        "mps": int(torch.backends.mps.is_available()),
    }.get(device.type, 1)
    if (device.index or 0) >= available:
        raise PolicyError(
            f"device '{name}': torch {torch.__version__} finds {available} of type {device.type} "
            "here; use another, or cpu"
        )
    return device


def dtype_of(name: str) -> torch.dtype:
    known = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
    if name not in known:
        raise PolicyError(f"dtype must be one of {', '.join(known)}, found '{name}'")
    return known[name]
