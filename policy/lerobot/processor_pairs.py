"""The pre- and postprocessor of each session: LeRobot's pipelines, whose steps may keep state."""

from __future__ import annotations

import copy
import importlib
from collections import OrderedDict
from collections.abc import Hashable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

MAX_PAIRS = 256
"""The sessions used last keep theirs."""


class ProcessorPair(NamedTuple):
    """`before` the network and `after` it. The steps of the one may refer to those of the other:
    absolute actions count from the state that `before` saw last."""

    before: Any
    after: Any

    @property
    def relative(self) -> Any | None:
        """The step that makes actions relative to a state; None where they are absolute."""
        step = _step(self.before, "RelativeActionsProcessorStep")
        return step if step is not None and step.enabled else None

    def reanchored(self, prefix: NDArray[np.float32], device: Any) -> Any:
        """A prefix of relative actions, in robot space [P, A], in the network's space [P, A] on
        `device`: relative to the state that `before` saw last."""
        torch = importlib.import_module("torch")
        rtc = importlib.import_module("lerobot.policies.rtc")
        relative = self.relative
        assert relative is not None, "of absolute actions, the network's own form is the prefix"
        # As rollout/inference/rtc.py of 0.6.1.
        return rtc.reanchor_relative_rtc_prefix(
            prev_actions_absolute=torch.from_numpy(prefix.copy()),
            current_state=relative.get_cached_state(),
            relative_step=relative,
            normalizer_step=_step(self.before, "NormalizerProcessorStep"),
            policy_device=device,
        )


class ProcessorPairs:
    """One pair for each session, a copy of `original`, which is never used itself.

    Tokenizers are shared by all copies: they keep no state, and are large.
    """

    def __init__(self, before: Any, after: Any) -> None:
        self.original = ProcessorPair(before, after)
        self._of: OrderedDict[Hashable, ProcessorPair] = OrderedDict()

    def of(self, session: Hashable) -> ProcessorPair:
        """The pair of the session; a fresh one for a session that has none."""
        pair = self._of.get(session)
        if pair is None:
            pair = self._of[session] = ProcessorPair(*self._copied())
            if len(self._of) > MAX_PAIRS:
                self._of.popitem(last=False)
        self._of.move_to_end(session)
        return pair

    def forget(self) -> None:
        """Every session begins anew."""
        self._of.clear()

    def _copied(self) -> tuple[Any, Any]:
        shared = {
            id(value): value
            for pipeline in self.original
            for step in pipeline.steps
            for value in vars(step).values()
            if type(value).__module__.startswith(("transformers", "tokenizers"))
        }
        # Together, so that a step of one copy refers to the other copy's.
        before, after = copy.deepcopy(tuple(self.original), shared)
        return before, after


def _step(pipeline: Any, kind: str) -> Any | None:
    """The first step of the class with that name, or of one derived from it."""
    for step in pipeline.steps:
        if any(each.__name__ == kind for each in type(step).__mro__):
            return step
    return None
