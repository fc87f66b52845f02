"""`WordPieces`: texts to the numbers of PaliGemma's vocabulary, by the library of its file."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from ...errors import PolicyError

MODEL, JSON = "tokenizer.model", "tokenizer.json"
OPENPI_CACHE = Path("~/.cache/openpi/big_vision/paligemma_tokenizer.model")
"""Where openpi keeps the file that it downloads (`src/openpi/models/tokenizer.py`)."""

HUB = "google/paligemma-3b-pt-224"
"""The model of the hub whose tokenizer LeRobot's processors name."""


class WordPieces(Protocol):
    """A tokenizer of `size` words, of a `file`. `begin` is the word that begins
    a text."""

    file: Path
    size: int
    begin: int | None

    def encode(self, text: str) -> list[int]:
        """The tokens of `text` alone."""

    def begun(self, text: str) -> list[int]:
        """The same after the tokens that begin a prompt."""


class SentencePieces:
    """A file `tokenizer.model`, which openpi uses."""

    def __init__(self, file: Path) -> None:
        import sentencepiece

        self._made = sentencepiece.SentencePieceProcessor(model_file=str(file))
        self.file, self.size = file, int(self._made.vocab_size())
        self.begin: int | None = int(self._made.bos_id())

    def encode(self, text: str) -> list[int]:
        return [int(token) for token in self._made.encode(text)]

    def begun(self, text: str) -> list[int]:
        return [int(self._made.bos_id()), *self.encode(text)]


class JsonPieces:
    """A file `tokenizer.json`, which the hub's libraries use; it says itself what begins a text."""

    def __init__(self, file: Path) -> None:
        import tokenizers

        self._made = tokenizers.Tokenizer.from_file(str(file))
        # PaliGemma's has one more word, for images, which no text has and no model knows.
        self.file = file
        self.size = int(self._made.get_vocab_size(with_added_tokens=False))
        self.begin: int | None = self._made.token_to_id("<bos>")

    def encode(self, text: str) -> list[int]:
        return list(self._made.encode(text, add_special_tokens=False).ids)

    def begun(self, text: str) -> list[int]:
        return list(self._made.encode(text).ids)


def read_word_pieces(
    folder: Path, given: str | None, words: int, option: str = "`options: {tokenizer: PATH}`"
) -> WordPieces:
    """The tokenizer `given`, a file or a directory; else that of the checkpoint's `folder`, of
    openpi's cache, or of the hub's. `words` is the size of the model's vocabulary,
    `option` what names a tokenizer.

    Raises PolicyError that names the places which were looked at.
    """
    places = (
        [Path(given).expanduser()] if given is not None else [folder, OPENPI_CACHE.expanduser()]
    )
    files = [file for place in places for file in _files(place) if file.is_file()]
    if not files and given is None:
        files = _in_hub_cache()
    if not files:
        looked = ", ".join(map(str, places)) + ("" if given else f" and the hub's cache of {HUB}")
        raise PolicyError(
            f"no tokenizer: looked for {MODEL} or {JSON} in {looked}; name PaliGemma's by "
            f"{option} (it is not part of a checkpoint: openpi downloads it as "
            f"{OPENPI_CACHE}, LeRobot with {HUB})"
        )
    pieces = _read(files[0])
    if pieces.size > words:
        raise PolicyError(
            f"{files[0]}: {pieces.size} words, expected at most the model's {words}: it is another "
            "model's tokenizer"
        )
    return pieces


def _files(place: Path) -> list[Path]:
    return [place / MODEL, place / JSON] if place.is_dir() else [place]


def _read(file: Path) -> WordPieces:
    try:
        return JsonPieces(file) if file.suffix == ".json" else SentencePieces(file)
    except ModuleNotFoundError as error:
        raise PolicyError(
            f"{file} needs {error.name}, which is not installed: pip install 'holdfast[pi0]'"
        ) from error
    except Exception as error:
        raise PolicyError(f"{file}: not readable as a tokenizer: {error}") from error


def _in_hub_cache() -> list[Path]:
    try:
        from huggingface_hub import try_to_load_from_cache
    except ModuleNotFoundError:
        return []
    found = [try_to_load_from_cache(HUB, name) for name in (MODEL, JSON)]
    return [Path(each) for each in found if isinstance(each, str)]
