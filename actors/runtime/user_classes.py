"""Whether a class of the user's own can be made, and its methods called as its actor calls them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any


def unfinished(make: Any, base: type) -> str:
    """Which methods of `base` the class `make` inherits without a body, with the remedy; empty if
    none, and for a function."""
    missing = sorted(getattr(make, "__abstractmethods__", ()))
    if not missing:
        return ""
    wanted = " and ".join(_definition(base, name) for name in missing)
    return f"class {make.__name__} has no {', '.join(missing)}: define {wanted}"


def constructor_missing(make: Any, base: type, options: Iterable[str]) -> str:
    """What a class lacks that has no constructor of its own to take `options`; empty if it has one,
    and for a function."""
    if not isinstance(make, type) or not (names := list(options)):
        return ""
    own = [vars(each) for each in make.__mro__ if each not in base.__mro__]
    # A protocol's first construction puts the one of `object` into the class.
    constructors = [each.get("__init__", each.get("__new__")) for each in own]
    if any(each not in (None, object.__init__) for each in constructors):
        return ""
    inherit = "" if base in make.__mro__ else f"inherit holdfast.{base.__name__} and "
    return f"{inherit}define __init__(self, {', '.join(names)}), which takes the options"


def uncallable(made: Any, base: type) -> str:
    """Which method of `made` cannot be called with the arguments of the one of `base`, with the
    remedy; empty if all can."""
    for name, default in vars(base).items():
        own = getattr(made, name, None)
        if name.startswith("_") or not inspect.isfunction(default) or not callable(own):
            continue
        if inspect.iscoroutinefunction(own):
            return f"{name} is `async`, and is called without a loop: define it without"
        try:
            signature = inspect.signature(own)
        except (TypeError, ValueError):  # of compiled code, which tells nothing
            continue
        given = _parameters(default)
        try:
            signature.bind(*given)
        except TypeError as error:
            called = f"{name}({', '.join(given)})"
            return (
                f"{name}({', '.join(signature.parameters)}) cannot be called as {called} "
                f"({error}): define {_definition(base, name)}"
            )
    return ""


def _definition(base: type, name: str) -> str:
    return f"{name}({', '.join(['self', *_parameters(getattr(base, name))])})"


def _parameters(method: Any) -> list[str]:
    """Those of a method of a class, without `self`."""
    return list(inspect.signature(method).parameters)[1:]


def lacking(make: Callable[..., Any], given: Mapping[str, Any]) -> str:
    """Which options `make` needs and `given` does not have, and what to add; empty if none."""
    try:
        parameters = inspect.signature(make).parameters.values()
    except (TypeError, ValueError):
        return ""  # of a builtin: the call will say it
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    absent = [
        each.name
        for each in parameters
        if each.kind in named and each.default is each.empty and each.name not in given
    ]
    keys = ", ".join(f"{key}: ..." for key in absent)
    return f"it needs {', '.join(absent)}: add `options: {{{keys}}}`" if absent else ""
