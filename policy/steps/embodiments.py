"""Embodiments by name: those that ship, those that a program registers, and `module:name`."""

from __future__ import annotations

import importlib
from difflib import get_close_matches

from ...errors import PolicyError
from .aloha import aloha
from .droid import droid
from .embodiment import Embodiment
from .libero import libero

_REGISTERED = {each.name: each for each in (aloha(), droid(), libero())}


def register(embodiment: Embodiment) -> Embodiment:
    """Make an embodiment known by its name in this process, and return it. Raises ValueError for a
    name that another one has."""
    name = embodiment.name
    if ":" in name or _REGISTERED.setdefault(name, embodiment) is not embodiment:
        raise ValueError(f"name: {name!r} is taken, or holds a colon; choose another")
    return embodiment


def registered() -> tuple[str, ...]:
    """The names that are known."""
    return tuple(_REGISTERED)


def embodiment_of(name: str) -> Embodiment:
    """The embodiment that `name` means: a known one, or `module:name` of the user's own, an
    `Embodiment` or a function that makes one. Raises PolicyError; what importing a user's module
    raises is passed on."""
    if name in _REGISTERED:
        return _REGISTERED[name]
    where, colon, attribute = name.partition(":")
    if not colon or not where or not attribute:
        close = get_close_matches(name, _REGISTERED, n=1)
        hint = f"did you mean {close[0]!r}? " if close else ""
        raise PolicyError(
            f"there is no embodiment {name!r}: {hint}known are {', '.join(_REGISTERED)}; your own "
            "is named module:name"
        )
    module = importlib.import_module(where)
    found = getattr(module, attribute, None)
    if callable(found) and not isinstance(found, Embodiment):
        found = found()
    if not isinstance(found, Embodiment):
        raise PolicyError(
            f"{name}: {getattr(module, '__file__', where)} has {found!r:.80} there, expected a "
            "holdfast.policy.steps.Embodiment or a function that makes one"
        )
    return found
