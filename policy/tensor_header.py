"""The header of a safetensors file: names, types and shapes, without its values. No torch.

Source: https://github.com/huggingface/safetensors, "Format".
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from ..errors import PolicyError


class TensorEntry(msgspec.Struct, frozen=True):
    """One tensor; `data_offsets` are its first byte and the one after its last, after the
    header."""

    dtype: str
    shape: tuple[int, ...]
    data_offsets: tuple[int, int]


def read_header(path: Path) -> dict[str, TensorEntry]:
    """The tensors of the file, by name. Raises PolicyError for one that is not whole."""
    try:
        with path.open("rb") as file:
            size, length = int.from_bytes(file.read(8), "little"), path.stat().st_size
            text = file.read(size) if size < length else b""
        raw: dict[str, Any] = msgspec.json.decode(text, type=dict[str, Any])
        raw.pop("__metadata__", None)
        tensors = msgspec.convert(raw, dict[str, TensorEntry])
    except OSError as error:
        raise PolicyError(f"{path}: cannot be read ({error.strerror})") from error
    except msgspec.MsgspecError as error:
        raise PolicyError(f"{path}: not readable as safetensors: it has no such header") from error
    whole = 8 + size + max((tensor.data_offsets[1] for tensor in tensors.values()), default=0)
    if whole != length:
        raise PolicyError(
            f"{path}: {length} bytes, its header says {whole}: it is damaged, copy it again"
        )
    return tensors
