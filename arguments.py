"""What a program hands to Holdfast, checked where it comes in.

Each function returns the value in the type that the rest of the code trusts (sequences become
tuples, numpy's scalars and strings Python's), or raises TypeError for a wrong type and ValueError
for a value that cannot be used. Every message begins with the argument's name. Imports no part of
Holdfast: every part may use it.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

NAME_CHARS = 128
TEXT_CHARS = 2048
"""What the wire takes of names and of sentences (transport/limits.py)."""
_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,31}")
_TCP = re.compile(r"tcp://(?P<host>[^*/\s]+):(?P<port>\d{1,5})")


def text(name: str, value: object, most: int = TEXT_CHARS) -> str:
    """A sentence of at most `most` characters; may be empty."""
    if not isinstance(value, str):
        raise TypeError(f"{name}: {shown(value)}, expected a str")
    plain = str(value)
    if len(plain) > most:
        raise ValueError(f"{name}: {len(plain)} characters, at most {most} are allowed")
    try:
        plain.encode()
    except UnicodeEncodeError as error:
        raise ValueError(
            f"{name}: {plain!r:.60} holds half a character (a lone surrogate): decode its bytes as "
            "UTF-8"
        ) from error
    return plain


def name(argument: str, value: object) -> str:
    """A name as it travels: of a camera, a motor, a model."""
    plain = text(argument, value, NAME_CHARS)
    if not plain:
        raise ValueError(f"{argument}: empty, expected a name")
    return plain


def label(argument: str, value: object) -> str:
    """A name that becomes part of others (of a robot, a service), as fleet.yaml allows it."""
    plain = text(argument, value, NAME_CHARS)
    if not _LABEL.fullmatch(plain):
        raise ValueError(
            f"{argument}: {plain!r:.60}, expected 1 to 32 of A-Z a-z 0-9 _ -, the first of them a "
            "letter or a digit"
        )
    return plain


def names(argument: str, value: object, least: int = 0, most: int = 256) -> tuple[str, ...]:
    """Different names, in order."""
    unordered = isinstance(value, str | bytes | Mapping | set | frozenset)
    # An array without an axis has `__iter__` too, which refuses.
    unordered |= isinstance(value, np.ndarray) and not value.ndim
    if unordered or not isinstance(value, Iterable):
        raise TypeError(f"{argument}: {shown(value)}, expected a sequence of names in order")
    found = tuple(name(f"{argument}[{place}]", each) for place, each in enumerate(value))
    if not least <= len(found) <= most:
        raise ValueError(f"{argument}: {len(found)} names, expected {least} to {most}")
    for place, each in enumerate(found):
        if each in found[:place]:
            raise ValueError(f"{argument}[{place}]: {each!r} is there twice")
    return found


def number(argument: str, value: object, *, above: float = 0.0, most: float = math.inf) -> float:
    """A finite number above `above`, at most `most`."""
    if isinstance(value, bool | np.bool_) or not isinstance(
        value, int | float | np.integer | np.floating
    ):
        raise TypeError(f"{argument}: {shown(value)}, expected a number")
    try:
        plain = float(value)
    except OverflowError:  # an integer beyond all floats
        plain = math.inf
    if not (above < plain <= most) or math.isinf(plain):
        limit = f", at most {most:g}" if math.isfinite(most) else ""
        raise ValueError(f"{argument}: {plain:g}, expected a number above {above:g}{limit}")
    return plain


def count(argument: str, value: object, least: int, most: int) -> int:
    """A whole number from `least` to `most`."""
    if isinstance(value, bool | np.bool_) or not isinstance(value, int | np.integer):
        raise TypeError(f"{argument}: {shown(value)}, expected a whole number")
    plain = int(value)
    if not least <= plain <= most:
        raise ValueError(f"{argument}: {plain}, expected {least} to {most}")
    return plain


def choice(argument: str, value: object, options: Sequence[str]) -> str:
    """One of `options`."""
    plain = text(argument, value)
    if plain not in options:
        raise ValueError(f"{argument}: {plain!r:.60}, expected one of {', '.join(options)}")
    return plain


def flag(argument: str, value: object) -> bool:
    """True or False."""
    if not isinstance(value, bool | np.bool_):
        raise TypeError(f"{argument}: {shown(value)}, expected True or False")
    return bool(value)


def endpoint(argument: str, value: object) -> str:
    """Where a broker listens: `tcp://host:port`, or `ipc://path` on this machine."""
    plain = text(argument, value)
    found = _TCP.fullmatch(plain)
    if found and 0 < int(found["port"]) < 65536:
        return plain
    if plain.startswith("ipc:///"):
        return plain
    raise ValueError(f"{argument}: {plain!r:.80}, expected tcp://HOST:PORT, or ipc:///PATH")


def endpoints(argument: str, value: object) -> tuple[str, ...]:
    """Where a broker listens, or several in a list or tuple, in the order of their use."""
    if not isinstance(value, list | tuple):
        return (endpoint(argument, value),)
    if not value:
        raise ValueError(f"{argument}: empty, expected one endpoint or more")
    found = tuple(endpoint(f"{argument}[{place}]", each) for place, each in enumerate(value))
    for place, each in enumerate(found):
        if each in found[:place]:
            raise ValueError(f"{argument}[{place}]: {each!r} is there twice")
    return found


def path(argument: str, value: object) -> Path:
    """A file or directory."""
    if not isinstance(value, str | os.PathLike):
        raise TypeError(f"{argument}: {shown(value)}, expected a path")
    found = os.fspath(value)
    try:
        usable = found and b"\0" not in os.fsencode(found)
    except UnicodeEncodeError:
        usable = False
    if not usable or isinstance(found, bytes):
        raise ValueError(f"{argument}: {shown(value)}, expected a path")
    return Path(found)


def fields(struct: msgspec.Struct) -> None:
    """Check every field of `struct` against its declared type, which its constructor does not."""
    for field in msgspec.structs.fields(struct):
        try:
            msgspec.convert(getattr(struct, field.name), field.type)
        except msgspec.ValidationError as error:
            value = getattr(struct, field.name)
            raise TypeError(f"{field.name}: {shown(value)}: {error}") from error


def shown(value: Any) -> str:
    """A value in an error message: what it is, and the beginning of it."""
    kind = type(value)
    where = "" if kind.__module__ == "builtins" else f"{kind.__module__.partition('.')[0]}."
    shape = getattr(value, "shape", None)
    if value is None:
        return "None"
    if shape is not None:
        return f"a {where}{kind.__name__} of shape {tuple(shape)}"
    plain = repr(value)
    return f"a {where}{kind.__name__} ({plain if len(plain) <= 60 else plain[:57] + '...'})"
