"""`TrainingBatch`: the tensors of one backward pass."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .ranks import Ranks


@dataclass(frozen=True)
class GroundTruth:
    """What a simulator knows of b observations, and what its terms of the loss weigh.

    `places` [b, X] true quantities and `visible` [b] whether the target is in view; `cells` [b] by
    camera, the cell of its feature map with the named object.
    """

    places: Tensor
    visible: Tensor
    cells: tuple[Tensor, ...]
    auxiliary_weight: float
    finding_weight: float

    def each(self, change: Callable[[Tensor], Tensor]) -> GroundTruth:
        """The same with its tensors changed."""
        return replace(
            self,
            places=change(self.places),
            visible=change(self.visible),
            cells=tuple(map(change, self.cells)),
        )


@dataclass(frozen=True)
class TrainingBatch:
    """The observations [b, ...] of one backward pass, and their chunks [b * looks, ...].

    `tokens` [b, L]; `given` and `counts` [b * looks, H], the steps of a chunk that are a prefix and
    those that count; `time` [b * looks] and `noise` [b * looks, H, A] are of a flow policy's path.
    `truth` is None for recorded data; `answer` [b, n] are the actions as words, where a language
    model learns them. `share` is what the mean loss of this part of a batch weighs
    in the mean over the ranks, so that it is that of the whole batch; `answer_share` likewise for
    that of the words.
    """

    images: tuple[Tensor, ...]
    state: Tensor
    tokens: Tensor
    chunk: Tensor
    given: Tensor
    counts: Tensor
    time: Tensor
    noise: Tensor
    truth: GroundTruth | None = None
    answer: Tensor | None = None
    share: float = 1.0
    answer_share: float = 1.0

    @classmethod
    def of(
        cls,
        images: Sequence[NDArray[Any]],
        state: NDArray[np.float32],
        tokens: NDArray[np.int64],
        chunks: tuple[NDArray[np.float32], NDArray[np.bool_], NDArray[np.bool_]],
        generator: torch.Generator,
        ranks: Ranks,
        truth: GroundTruth | None = None,
        answer: NDArray[np.int64] | None = None,
        pad: int = 0,
    ) -> TrainingBatch:
        """The rank's part of the batch of these arrays, of which `images` are already that part;
        `chunks` are the chunks, what is given and what counts; `pad` is behind an answer."""
        chunk, given, counts = map(torch.from_numpy, chunks)
        time = torch.rand(len(chunk), generator=generator)
        noise = torch.randn(chunk.shape, generator=generator)
        observations, looks = ranks.part(len(state)), ranks.part(len(chunk))
        learned = counts & ~given
        answers = None if answer is None else torch.from_numpy(answer)
        words = None if answers is None else answers[:, 1:] != pad
        return cls(
            images=tuple(map(torch.from_numpy, images)),
            state=torch.from_numpy(state[observations]),
            tokens=torch.from_numpy(tokens[observations]),
            chunk=chunk[looks],
            given=given[looks],
            counts=counts[looks],
            time=time[looks],
            noise=noise[looks],
            truth=truth and truth.each(lambda tensor: tensor[observations]),
            answer=None if answers is None else answers[observations],
            share=_share(learned, looks, ranks),
            answer_share=1.0 if words is None else _share(words, observations, ranks),
        )

    def pinned(self) -> TrainingBatch:
        """The same in page-locked memory, which a GPU copies from while it computes; needs one."""
        return self._each(torch.Tensor.pin_memory)

    def to(self, device: torch.device) -> TrainingBatch:
        """The same on `device`."""
        return self._each(lambda tensor: tensor.to(device, non_blocking=True))

    def _each(self, change: Callable[[Tensor], Tensor]) -> TrainingBatch:
        names = ("state", "tokens", "chunk", "given", "counts", "time", "noise")
        changed: dict[str, Any] = {name: change(getattr(self, name)) for name in names}
        return replace(
            self,
            **changed,
            images=tuple(map(change, self.images)),
            truth=self.truth and self.truth.each(change),
            answer=None if self.answer is None else change(self.answer),
        )


def _share(counts: Tensor, mine: slice, ranks: Ranks) -> float:
    """What the mean over those of `counts` that are `mine` weighs in the mean over the ranks."""
    return ranks.count * _at_least_one(counts[mine]) / _at_least_one(counts)


def _at_least_one(mask: Tensor) -> int:
    return max(int(mask.sum()), 1)
