"""`PiModel`: the network of a checkpoint on a device, from prepared samples to actions.

The images and the text are computed once for all steps of the flow. The noise of a seed is that
which LeRobot draws for it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple, Self

import msgspec
import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray
from torch import Tensor

from .. import compilation, continuation
from ..base import PolicySpec
from ..graphs import Function, GraphedFunction, graphs_wanted
from ..rtc import Guidance
from ..torch_devices import device_of, dtype_of
from .checkpoint_layout import CheckpointLayout
from .denoising import Denoising
from .float8_linear import round_perceptrons
from .image_preparation import prepared
from .pali_gemma import Prefix
from .pi_network import PiNetwork
from .pi_options import PiOptions
from .pi_sample import TEXT_UNIT, PiSample, padded_length, texts_of_batch, views_of
from .pi_weights import load_network

_PLAN = {"none": 0, "guided": 3, "trained": 2}
"""How many tensors continue a plan."""


class Parts(NamedTuple):
    """What a chunk is computed by: a batch's prefix, then its steps."""

    prefix: Callable[..., Prefix]
    denoising: Denoising


class PiModel:
    """`network` for observations of `spec`, where and in which dtype its weights are."""

    files: tuple[Path, ...] = ()

    def __init__(
        self, network: PiNetwork, layout: CheckpointLayout, spec: PolicySpec, options: PiOptions
    ) -> None:
        self.network, self._layout, self._spec = network, layout, spec
        self._guidance = msgspec.convert(
            {k: v for k in Guidance.__struct_fields__ if (v := getattr(options, k)) is not None},
            Guidance,
        )
        weight = network.head.actions_out.weight
        self.device, self.dtype = weight.device, weight.dtype
        if options.perceptrons == "float8":
            round_perceptrons(network)
        network.join()
        self._compiled_length = 0
        """Of the texts for which is compiled, once it is known."""
        self._eager = Parts(network.prefix, Denoising(network, layout.euler_steps))
        graphs_wanted(options.graphs)
        wanted = compilation.wanted_of(options.compile or "off")
        if wanted == "off" or (wanted == "auto" and self.device.type == "cuda"):
            self.chunks = GraphedFunction.on(self.device, self.compute, options.graphs)
            if spec.prefix == "guided" and self._guidance.jacobian == "gradient":
                self.chunks.stay_eager("guidance by gradient differentiates while it denoises")
        else:
            self.chunks = compilation.compiled_function(
                self.device, self.compute, self._compiled, wanted
            )

    @classmethod
    def load(
        cls, layout: CheckpointLayout, spec: PolicySpec, options: PiOptions, device: str, dtype: str
    ) -> Self:
        """With the weights of the layout's directory. Raises PolicyError for weights, a device or a
        dtype that cannot be used."""
        on, kept_as = device_of(device), dtype_of(dtype)
        network = load_network(PiNetwork, layout.folder, layout.architecture, on, kept_as)
        return cls(network, layout, spec, options)

    @property
    def execution(self) -> str:
        """How the network runs, for the status."""
        first, *others = self.chunks.state.split("; ", 1)
        if first.startswith("compiled for"):
            first += f", texts of at most {self._compiled_length} tokens"
        return "; ".join([first, *others])

    @property
    def preparation(self) -> str:
        """See `PiPolicy`."""
        return "compiles, which takes minutes" if self.chunks.of == "compiled" else ""

    def _compiled(self) -> Function:
        """`compute` by compiled parts."""
        flow = compilation.compiled(self.network.flow)
        denoising = Denoising(self.network, self._layout.euler_steps, flow)
        return partial(self._computed, Parts(compilation.compiled(self.network.prefix), denoising))

    def predict(self, samples: Sequence[PiSample]) -> Float[NDArray[np.float32], "b h a"]:
        """The actions of a batch, in the model's scale and size."""
        # Not inference mode: guidance differentiates through tensors made here.
        with torch.no_grad():
            inputs = self._inputs(samples)
            # Another length would have to be compiled while robots wait.
            longer = self._compiled_length and inputs[0].shape[1] > self._compiled_length
            actions = (self.compute if longer else self.chunks)(*inputs)
        values: NDArray[np.float32] = actions.float().cpu().numpy()
        return values

    def _length(self, samples: Sequence[PiSample]) -> int:
        """That of the texts of a batch: whatever is captured has one for all prompts."""
        most = self._layout.prompt_tokens
        if self.chunks.captures and self.chunks.of == "graphs":
            return most
        length = padded_length(samples, most)
        if self.chunks.captures and not self._compiled_length:
            # That of the warm-up, with room for longer texts.
            self._compiled_length = min(most, length + TEXT_UNIT)
        return max(length, self._compiled_length)

    def _inputs(self, samples: Sequence[PiSample]) -> tuple[Tensor, ...]:
        """What `compute` takes."""
        texts = texts_of_batch(samples, self._length(samples))
        return (
            *(torch.from_numpy(array).to(self.device) for array in texts),
            self._tensor([sample.state for sample in samples]),
            torch.cat([self._noise(s.asked.seed) for s in samples]).to(self.device, self.dtype),
            *self._continuation(samples),
            *(torch.from_numpy(view).to(self.device) for view in views_of(samples)),
        )

    def _continuation(self, samples: Sequence[PiSample]) -> tuple[Tensor, ...]:
        """Prefixes [b, H, A], with weights [b, H] and clips [b] or with the steps that are given
        [b, H]; nothing for a policy that continues no plan."""
        if self._spec.prefix == "none":
            return ()
        asked, steps = [sample.asked for sample in samples], self._spec.chunk_size
        actions = self._layout.architecture.actions
        prefixes, lengths = continuation.padded([s.prefix for s in samples], steps, actions)
        prefix = self._tensor(list(prefixes))
        if self._spec.prefix == "guided":
            weights, clips = continuation.guided(asked, lengths, self._guidance, steps)
            return prefix, self._tensor(list(weights)), self._tensor(list(clips))
        given = continuation.given(asked, lengths, self._spec.max_prefix_steps, steps)
        return prefix, torch.from_numpy(given).to(self.device)

    def compute(
        self,
        tokens: Int[Tensor, "b length"],
        counts: Bool[Tensor, "b length"],
        state: Float[Tensor, "b s"],
        noise: Float[Tensor, "b h a"],
        *others: Tensor,
    ) -> Float[Tensor, "b h a"]:
        """The whole computation of the device for a batch. `others` are what `_continuation` gives,
        then the images uint8 [b, y, x, 3] of each view."""
        return self._computed(self._eager, tokens, counts, state, noise, *others)

    def _computed(
        self,
        parts: Parts,
        tokens: Tensor,
        counts: Tensor,
        state: Tensor,
        noise: Tensor,
        *others: Tensor,
    ) -> Tensor:
        """`compute` by `parts`."""
        plan, views = others[: (n := _PLAN[self._spec.prefix])], others[n:]
        pixels = self._layout.architecture.vision.pixels
        images = [prepared(view, pixels).to(self.dtype) for view in views]
        all_count = torch.ones(len(tokens), len(views), dtype=torch.bool, device=tokens.device)
        seen = parts.prefix(images, all_count, tokens, counts)
        suffix = self.network.suffix(seen, state, noise.shape[1])
        if self._spec.prefix == "none":
            return parts.denoising.free(suffix, noise)
        if self._spec.prefix == "trained":
            prefix, given = plan
            return parts.denoising.conditioned(suffix, noise, prefix, given)
        prefix, weights, clips = plan
        jacobian = self._guidance.jacobian
        return parts.denoising.guided(suffix, noise, prefix, weights, clips, jacobian)

    def _noise(self, seed: int) -> Tensor:
        """[1, H, A], the same on every device."""
        shape = (1, self._spec.chunk_size, self._layout.architecture.actions)
        return torch.randn(shape, generator=torch.Generator().manual_seed(seed))

    def _tensor(self, rows: Sequence[NDArray[np.float32]]) -> Tensor:
        return torch.from_numpy(np.stack(rows)).to(self.device, self.dtype)
