"""Functions of tensors compiled for a CPU, where compiling makes them faster.

A small network on a CPU is mostly the cost of its calls, which a compiled one does not have. On a
GPU a graph removes that cost without a compiler (`graphs`).

The compiler runs in this process, one kernel after another, so that no helper process outlives it.
What it made is kept in a cache, from which a later start takes it: TORCHINDUCTOR_CACHE_DIR, by
default a directory below /tmp.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Literal, ParamSpec, TypeVar

import torch
from torch import Tensor

from ..errors import PolicyError
from .graphs import Function, GraphedFunction

Wanted = Literal["auto", "on", "off"]
P = ParamSpec("P")
Made = TypeVar("Made")
TURNS = 7
"""Calls of either kind by which `auto` decides."""


def wanted_of(given: object) -> Wanted:
    """The value of the option `compile`: YAML reads a bare on and off as true and false."""
    named: dict[object, Wanted] = {
        True: "on",
        False: "off",
        "auto": "auto",
        "on": "on",
        "off": "off",
    }
    if given not in named:
        raise PolicyError(f"compile must be auto, on or off, found {given!r}")
    return named[given]


def why_not(device: torch.device) -> str:
    """Why nothing can be compiled for `device` here; empty where it can."""
    if device.type != "cpu":
        return f"compiling is for a cpu, this device is {device}"
    from torch._inductor import config
    from torch._inductor.cpp_builder import get_cpp_compiler

    config.compile_threads = 1
    try:
        get_cpp_compiler()
    except RuntimeError:
        return "compiling needs a C++ compiler, none was found: install g++, or name one by CXX"
    return ""


def compiled(function: Callable[P, Made]) -> Callable[P, Made]:
    """`function`, compiled at its first call: once for a batch of one, and once for all larger
    ones."""
    return torch.compile(function)


def compiled_function(
    device: torch.device, eager: Function, twin: Callable[[], Function], wanted: Wanted
) -> GraphedFunction:
    """`eager` on `device`, or what `twin` makes, the same function of compiled parts: with `auto`
    where it is faster, by measurement for each batch size. Where nothing can be compiled, `auto` is
    eager and says why; for `on` that is a PolicyError, here or at the first call of a shape."""
    reason = why_not(device)
    if reason and wanted == "on":
        raise PolicyError(f"compile: on: {reason}; or write `compile: auto`")
    if reason:
        return GraphedFunction(eager, None, reason)
    parts = twin()

    def capture(function: Function, inputs: tuple[Tensor, ...]) -> Function:
        parts(*inputs)  # Compiles.
        if wanted == "auto" and not (ratio := ratio_of(parts, function, inputs)) < 1:
            raise PolicyError(f"compiled, a batch takes {ratio:.2f} times as long")
        return parts

    required = "compile is on: write `compile: auto`, which is eager then" if wanted == "on" else ""
    return GraphedFunction(eager, capture, of="compiled", attempt="compiling", required=required)


def ratio_of(function: Function, other: Function, inputs: tuple[Tensor, ...]) -> float:
    """How long `function` takes, divided by what `other` takes: the quickest of several turns."""

    def took_s(each: Function) -> float:
        began_s = time.perf_counter()
        each(*inputs)
        return time.perf_counter() - began_s

    turns = [(took_s(function), took_s(other)) for _ in range(TURNS)]
    return min(ours for ours, _ in turns) / min(others for _, others in turns)
