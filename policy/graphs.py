"""A function of tensors, run as a CUDA graph on a GPU and elsewhere eagerly, or compiled
(`compilation`).

A small network is a few hundred kernels of microseconds each, and launching one costs as much, so
that the GPU waits for Python. A graph holds all the launches of one batch size and is replayed by
one call. It runs the kernels of the eager execution, so that results stay the same.

Graphs are captured here by hand rather than by torch.compile(mode="reduce-overhead"). That would
compile every batch size anew at each start, for minutes, needs a C compiler at every site, may
compile again while serving when a guard fails, and generates kernels with another rounding than
those of a replay elsewhere. Its advantage, fused kernels, is small beside the saved launches.

Guaranteed: each shape is decided finally at its first call, before that call returns, so that the
same inputs give the same bytes from the first call on; a graph is used only after its first replay
agreed with the eager run; after a failed capture all further shapes stay eager, and the reason is
logged once; a shape for which a graph is not worth it stays eager alone. Not guaranteed: that the
GPU is usable after a failed capture (an error of CUDA itself may prevent that): then the eager run
fails too, and `graphs: off` avoids the attempt. The number of shapes is not bounded; each keeps
buffers.

The function must depend on its tensors alone, must not differentiate, and must not use the host:
values that Python computes in it are frozen into the graph, and a copy from the host fails.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

import torch
from torch import Tensor

from ..errors import PolicyError

Function = Callable[..., Tensor]
Capture = Callable[[Function, tuple[Tensor, ...]], Function]
"""Of a function and example inputs, a function that replays it on inputs of the same shapes. Raises
RuntimeError where it cannot be made, and PolicyError where it is not worth it."""


WARM_UP_RUNS = 3
"""Runs before a capture, in which libraries choose kernels and allocate workspaces."""


def graphs_wanted(given: object) -> bool:
    """The value of the option `graphs`, `auto` or `off`. Raises PolicyError for others."""
    # YAML reads a bare off as false.
    if given in ("off", False):
        return False
    if given != "auto":
        raise PolicyError(
            f"graphs must be auto (where the device has them) or off, found {given!r}"
        )
    return True


class GraphedFunction:
    """`function`, with a graph for each shape of its inputs that `capture` succeeds for.

    Without `capture` it is eager, for the reason `eager_because`. `of` and `attempt` are words for
    the status: what the captured functions are, and what making one is. With `required`, which says
    what to do then, a capture that fails is a PolicyError.
    """

    def __init__(
        self,
        function: Function,
        capture: Capture | None,
        eager_because: str = "",
        of: str = "graphs",
        attempt: str = "capturing",
        required: str = "",
    ) -> None:
        self._function, self._capture = function, capture
        self.captures = capture is not None
        """Whether shapes are captured where that succeeds. It stays after a failure, because a
        caller pads its inputs by it: the graphs made before are for these shapes, and others would
        round otherwise."""
        self._eager_because = eager_because
        self.of, self._attempt, self._required = of, attempt, required
        self._not_worth_it: dict[int, str] = {}
        """By batch size, why it stays eager."""
        self._runs: dict[tuple[torch.Size, ...], Function] = {}

    @classmethod
    def on(cls, device: torch.device, function: Function, wanted: object) -> GraphedFunction:
        """`function` on `device`; `wanted` is `auto` or `off`. Raises PolicyError for other
        values."""
        if not graphs_wanted(wanted):
            return cls(function, None, "graphs are switched off")
        if device.type != "cuda":
            return cls(function, None, f"graphs need a cuda device, this one is {device}")
        return cls(function, CudaCapture(device))

    def stay_eager(self, because: str) -> None:
        """Capture nothing. Called before anything has run."""
        self.captures, self._capture, self._eager_because = False, None, because

    def __call__(self, *inputs: Tensor) -> Tensor:
        shapes = tuple(i.shape for i in inputs)
        run = self._runs.get(shapes)
        if run is None:
            run = self._runs[shapes] = self._captured(inputs) or self._function
        return run(*inputs)

    @property
    def state(self) -> str:
        """For the status: the batch sizes that run as graphs, and the reasons why others are
        eager."""
        sizes, why = self._captured_sizes, self._eager_because
        if not sizes and (why or not self._not_worth_it):
            return f"eager: {why or 'nothing has run yet'}"
        graphs = [f"{self.of} for batches of {', '.join(map(str, sizes))}"] if sizes else []
        alone = [f"eager for batches of {n}: {w}" for n, w in sorted(self._not_worth_it.items())]
        return "; ".join([*graphs, *alone, *([f"else eager: {why}"] if why else [])])

    @property
    def _captured_sizes(self) -> list[int]:
        return sorted(
            {shapes[0][0] for shapes, run in self._runs.items() if run is not self._function}
        )

    def _captured(self, inputs: tuple[Tensor, ...]) -> Function | None:
        if self._capture is None:
            return None
        eager = self._function(*inputs)
        try:
            replay = self._capture(self._function, inputs)
            # Chunks in model space are of the order of 1; a wrong graph is wrong by more. Fused
            # kernels round otherwise, in bfloat16 by some hundredths.
            least = max(1e-2, 8 * torch.finfo(eager.dtype).eps)
            if torch.allclose(replay(*inputs), eager, rtol=least, atol=least, equal_nan=True):
                return replay
            reason = f"{self._attempt} gave another answer than the eager run"
        except PolicyError as error:
            self._not_worth_it[len(eager)] = str(error)
            return None
        except RuntimeError as error:
            first, _, _ = str(error).partition("\n")  # the other lines are CUDA's general advice
            reason = f"{self._attempt} failed: {first or repr(error)}"
            if self._required:
                raise PolicyError(f"{reason}; {self._required}") from error
        if self._required:
            raise PolicyError(f"{reason}; {self._required}")
        logging.getLogger(__name__).warning("eager for batches of %d: %s", len(eager), reason)
        self._capture, self._eager_because = None, reason
        return None


class CudaCapture:
    """Captures on one GPU. Its graphs share one memory pool for intermediate results: they run one
    at a time, and each result is copied out before the next graph runs."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream: torch.cuda.Stream | None = None
        self._pool = torch.cuda.graph_pool_handle()

    def __call__(self, function: Function, inputs: tuple[Tensor, ...]) -> Function:
        """Raises RuntimeError where `function` cannot be captured."""
        held = tuple(i.clone() for i in inputs)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.device(self._device):
            if self._stream is None:
                self._stream = torch.cuda.Stream()  # type: ignore[no-untyped-call] # torch's own
            self._stream.wait_stream(torch.cuda.current_stream())
            # Also around the capture itself, which leaves its stream current when it fails.
            with torch.cuda.stream(self._stream):
                for _ in range(WARM_UP_RUNS):
                    function(*held)
                # Restricts this thread's calls only: other threads may use the GPU.
                with torch.cuda.graph(
                    graph, self._pool, self._stream, capture_error_mode="thread_local"
                ):
                    result = function(*held)
            torch.cuda.current_stream().wait_stream(self._stream)

        def replay(*given: Tensor) -> Tensor:
            for buffer, value in zip(held, given, strict=True):
                buffer.copy_(value)
            graph.replay()
            return result.clone()

        return replay
