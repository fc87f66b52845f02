"""The objects that a policy refers to.

Found are attributes, the variables that a function closes over and the globals that it names, the
receiver of a method, the arguments of a `partial`, and the entries of lists, tuples, sets and
dicts. Imports within a function, and the contents of extension types, are not.
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
"""More than a policy holds outside of its network; a bound, because a script's globals may refer
to anyheld."""

_LEAVES = (str, bytes, bytearray, memoryview, int, float, complex, type, ModuleType)


def reachable(policy: object) -> Iterator[object]:
    """Every object that `policy` refers to, itself first, each once. The contents of a torch module
    are not included."""
    seen: set[int] = set()
    waiting: deque[object] = deque([policy])
    while waiting and len(seen) < MAX_OBJECTS:
        held = waiting.popleft()
        if held is None or isinstance(held, _LEAVES) or id(held) in seen:
            continue
        seen.add(id(held))
        yield held
        waiting.extend(_held(held))


def is_network(held: object) -> bool:
    """Whether `held` is a torch module; imports no torch."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(held, torch.nn.Module)


def is_array(held: object) -> bool:
    """Whether `held` is an array of numbers, of numpy, torch or JAX; imports neither."""
    if isinstance(held, np.ndarray):
        return held.dtype.kind in "biufc"
    torch, jax = sys.modules.get("torch"), sys.modules.get("jax")
    return (torch is not None and isinstance(held, torch.Tensor)) or (
        jax is not None and isinstance(held, jax.Array)
    )


def _held(held: Any) -> Iterator[object]:
    if is_network(held) or is_array(held) or isinstance(held, BuiltinFunctionType):
        return
    if isinstance(held, MethodType):
        yield held.__self__
        yield held.__func__
    elif isinstance(held, functools.partial):
        yield held.func
        yield from held.args
        yield from held.keywords.values()
    elif isinstance(held, FunctionType):
        yield from _of_function(held)
    elif isinstance(held, Mapping):
        yield from list(held.values())
    elif isinstance(held, list | tuple | set | frozenset | deque):
        yield from list(held)
    else:
        yield from list(getattr(held, "__dict__", {}).values())
        for name in ("predict_chunk", "__call__"):
            method = getattr(type(held), name, None)
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
    """The globals and attributes that the code names, including its inner functions."""
    yield from code.co_names
    for constant in code.co_consts:
        if hasattr(constant, "co_names"):
            yield from _names(constant)
