"""What a policy holds: the objects that its code can get at, as far as they can be found.

Attributes, the variables that a function closes over and the globals that it names, the receiver
of a method, the arguments of a `partial`, and the entries of lists, tuples, sets and dicts. What a
function imports while it runs, and what lies within extension types, is not found.
"""

from __future__ import annotations

import functools
import sys
from collections import deque
from collections.abc import Iterator, Mapping
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np

MAX_OBJECTS = 20_000
"""More than any policy holds outside of its network; a bound, because a script's globals may lead
anywhere."""

_LEAVES = (str, bytes, bytearray, memoryview, int, float, complex, type, ModuleType, np.ndarray)


def reachable(policy: object) -> Iterator[object]:
    """Every object that `policy` holds, itself first, each once. A torch module is not entered: its
    parameters are its own."""
    seen: set[int] = set()
    waiting: deque[object] = deque([policy])
    while waiting and len(seen) < MAX_OBJECTS:
        thing = waiting.popleft()
        if thing is None or isinstance(thing, _LEAVES) or id(thing) in seen:
            continue
        seen.add(id(thing))
        yield thing
        waiting.extend(_held(thing))


def is_network(thing: object) -> bool:
    """Whether it is a torch module; imports no torch."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(thing, torch.nn.Module)


def _held(thing: Any) -> Iterator[object]:
    if is_network(thing) or isinstance(thing, BuiltinFunctionType):
        return
    if isinstance(thing, MethodType):
        yield thing.__self__
        yield thing.__func__
    elif isinstance(thing, functools.partial):
        yield thing.func
        yield from thing.args
        yield from thing.keywords.values()
    elif isinstance(thing, FunctionType):
        yield from _of_function(thing)
    elif isinstance(thing, Mapping):
        yield from list(thing.values())
    elif isinstance(thing, list | tuple | set | frozenset | deque):
        yield from list(thing)
    else:
        yield from list(getattr(thing, "__dict__", {}).values())
        for name in ("predict_chunk", "__call__"):
            method = getattr(type(thing), name, None)
            if isinstance(method, FunctionType):
                yield method


def _of_function(function: FunctionType) -> Iterator[object]:
    for cell in function.__closure__ or ():
        try:
            yield cell.cell_contents
        except ValueError:  # not bound yet
            continue
    yield from function.__defaults__ or ()
    yield from (function.__kwdefaults__ or {}).values()
    yield from (function.__globals__.get(name) for name in _names(function.__code__))


def _names(code: Any) -> Iterator[str]:
    """Globals and attributes that the code names, functions within it included."""
    yield from code.co_names
    for constant in code.co_consts:
        if hasattr(constant, "co_names"):
            yield from _names(constant)
