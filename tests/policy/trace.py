"""A substitute for a CUDA graph on a CPU: a fixed list of operations, replayed on other inputs,
with all of Python's computation frozen. It cannot fail as a capture can, but lists the operations
that would make one fail because they need the host."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx

from holdfast.policy.graphs import Function

HOST = ("scalar_tensor", "lift_fresh", "_local_scalar_dense")
"""A number or an array from Python to the device, or one from the device to Python."""


class Trace:
    """A capture on the CPU, into buffers of its own."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.with_host: set[str] = set()
        self.replays = 0

    def __call__(self, function: Function, inputs: tuple[Tensor, ...]) -> Function:
        self.sizes.append(len(inputs[0]))
        held = tuple(i.clone() for i in inputs)
        # A function of any tensors: tracing a method of named ones fails.
        trace = make_fx(lambda *given: function(*given))(*held)  # noqa: PLW0108
        self.with_host |= {str(node) for node in trace.graph.nodes if _needs_host(node)}

        def replay(*given: Tensor) -> Tensor:
            self.replays += 1
            for buffer, value in zip(held, given, strict=True):
                buffer.copy_(value)
            result: Tensor = trace(*held)
            return result.clone()

        return replay


def _needs_host(node: torch.fx.Node) -> bool:
    return any(word in str(node.target) for word in HOST)
