"""`ActionTokens`: the FAST tokens of a chunk (arXiv 2501.09747). No torch.

Each action is transformed by an orthonormal DCT over time, scaled and rounded; the coefficients,
time first, are the letters of a text, which byte pairs shorten. A chunk is whole when its tokens
have steps x actions letters. A letter above 127 has two bytes, which may lie in two tokens.

Source: the files of `physical-intelligence/fast` on the hub (`processing_action_tokenizer.py`):
`tokenizer.json` holds the byte pairs; `processor_config.json` holds `scale` and `min_token`, the
smallest coefficient, whose letter has the number 0.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import PolicyError

PAIRS, CONFIG = "tokenizer.json", "processor_config.json"
HUBS = ("physical-intelligence/fast", "lerobot/fast-action-tokenizer")
"""Where openpi's and LeRobot's tokenizers lie on the hub."""

NO_PART = 1 << 32
"""The letters of a token that is no part of a text."""


def _byte_letters() -> dict[str, int]:
    """The byte of each letter in which byte-level pairs are written: printable ones stand for
    themselves, the others for those from 256 on. Source: `bytes_to_unicode` of GPT-2's
    `encoder.py`."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    letters = {chr(byte): byte for byte in printable}
    return letters | {chr(256 + k): byte for k, byte in enumerate(others)}


_BYTES = _byte_letters()


class ActionTokens:
    """The tokenizer of a `folder`. Raises PolicyError for files that cannot be used.

    Attributes:
        letters: for each token, how many letters begin in it; more than a chunk's for a token that
            is no part of a text.
        begins: whether it begins with the second byte of a letter.
        ends: whether it ends with the first byte of a letter.
    """

    def __init__(self, folder: Path) -> None:
        self.files = (folder / PAIRS, folder / CONFIG)
        self._scale, self._least = _config(folder / CONFIG)
        try:
            import tokenizers
        except ModuleNotFoundError as error:
            raise PolicyError(
                f"{folder} needs {error.name}, which is not installed: pip install 'holdfast[pi0]'"
            ) from error
        try:
            self._pairs = tokenizers.Tokenizer.from_file(str(folder / PAIRS))
        except Exception as error:
            raise PolicyError(f"{folder / PAIRS}: not readable as a tokenizer: {error}") from error
        known = self._pairs.get_vocab(with_added_tokens=False)
        parts = [_Part(b"\xff")] * self._pairs.get_vocab_size()
        for token, number in known.items():
            parts[number] = _Part(bytes(_BYTES.get(letter, 0xFF) for letter in token))
        self.letters = np.array([part.letters for part in parts], np.int64)
        self.begins = np.array([part.begins for part in parts])
        self.ends = np.array([part.ends for part in parts])
        if not ((self.letters == 1) & ~self.begins & ~self.ends).any():
            raise PolicyError(
                f"{folder / PAIRS}: no token is a single letter, so that not every chunk can be "
                "completed: it is no FAST tokenizer of byte pairs"
            )

    def encode(self, actions: NDArray[Any]) -> list[int]:
        """The tokens of normalized actions [H, A]."""
        coefficients = np.rint(_cosines(len(actions)) @ actions * self._scale).astype(np.int64)
        text = "".join(chr(max(0, c - self._least)) for c in coefficients.ravel())
        return list(self._pairs.encode(text, add_special_tokens=False).ids)

    def decode(self, tokens: Sequence[int], steps: int, actions: int) -> NDArray[np.float32]:
        """The normalized actions [H, A] of `tokens`. Raises ValueError for tokens that are not a
        chunk of that size."""
        text = self._text(tokens)
        if len(text) != steps * actions:
            raise ValueError(
                f"a malformed chunk: {len(tokens)} action tokens have {len(text)} coefficients, "
                f"expected {steps} steps of {actions}"
            )
        coefficients = np.array([ord(letter) for letter in text]).reshape(steps, actions)
        values = _cosines(steps).T @ ((coefficients + self._least) / self._scale)
        return np.ascontiguousarray(values, np.float32)

    def _text(self, tokens: Sequence[int]) -> str:
        return str(self._pairs.decode(list(tokens), skip_special_tokens=False))


def read_action_tokens(folder: Path, given: str | None) -> ActionTokens:
    """The tokenizer of the directory `given`; else that in the checkpoint's `folder`, or in the
    hub's cache. Raises PolicyError that names the places which were looked at."""
    places = (
        [Path(given).expanduser()] if given is not None else [folder / "fast", *_in_hub_cache()]
    )
    for place in places:
        if (place / PAIRS).is_file() and (place / CONFIG).is_file():
            return ActionTokens(place)
    looked = ", ".join(map(str, places)) + ("" if given else f" and the hub's cache of {HUBS[0]}")
    raise PolicyError(
        f"no action tokenizer: looked for {PAIRS} and {CONFIG} in {looked}; name the directory by "
        f"`options: {{action_tokenizer: PATH}}`, e.g. a download of {HUBS[0]}"
    )


_NO_LETTER = {0xC0, 0xC1, *range(0xE0, 0x100)}
"""Bytes that begin no letter of two bytes."""


class _Part:
    """The bytes of a token as a part of a text in UTF-8, of letters of one or two bytes."""

    def __init__(self, code: bytes) -> None:
        self.begins, self.ends = False, False
        self.letters, within = 0, False
        for k, byte in enumerate(code):
            second = 0x80 <= byte < 0xC0
            if byte in _NO_LETTER or (second != within and k > 0):
                self.letters = NO_PART
                return
            if k == 0:
                self.begins = second
            self.letters += not second
            within = byte >= 0xC0
        self.ends = within


@cache
def _cosines(steps: int) -> NDArray[np.float64]:
    """The matrix of the orthonormal DCT-II: coefficients are this times values over time."""
    k, t = np.mgrid[:steps, :steps]
    matrix: NDArray[np.float64] = np.cos(np.pi * k * (2 * t + 1) / (2 * steps))
    matrix *= np.sqrt(2 / steps)
    matrix[0] /= np.sqrt(2)
    return matrix


def _config(file: Path) -> tuple[float, int]:
    try:
        config = json.loads(file.read_text())
        scale, least = float(config["scale"]), int(config["min_token"])
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise PolicyError(
            f"{file}: {error!r}: expected a map with scale, a number, and min_token, an integer"
        ) from error
    if not scale > 0:
        raise PolicyError(f"{file}: scale is {scale}, expected more than 0")
    return scale, least


def _in_hub_cache() -> list[Path]:
    try:
        from huggingface_hub import try_to_load_from_cache
    except ModuleNotFoundError:
        return []
    found = [try_to_load_from_cache(hub, PAIRS) for hub in HUBS]
    return [Path(each).parent for each in found if isinstance(each, str)]
