"""`DataStep`, one change of the data on their way to a model or back, and `StepPair`, both ways.

Data are a dictionary of arrays, texts and dictionaries, without a batch dimension. A step is any
callable that returns other data; it does not change those that it got. That is the model of openpi
(`src/openpi/transforms.py`, `DataTransformFn` and `Group`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Protocol

Data = dict[str, Any]


class DataStep(Protocol):
    """One change, of a dataset's sample as of a robot's observation."""

    def __call__(self, data: Data) -> Data:
        """Other data. Raises StepError for data that it cannot use."""


@dataclass(frozen=True)
class StepPair:
    """The steps before a model, and those after it, each in the order of their application.

    `state` and `actions` are the keys that both have: what comes after the model needs the state
    that went into it.

    >>> double = StepPair(
    ...     inputs=[lambda data: {**data, "actions": 2 * data["actions"]}],
    ...     outputs=[lambda data: {**data, "actions": data["actions"] / 2}],
    ... )
    >>> double.after(double.before({"actions": 3.0}))
    {'actions': 3.0}
    """

    inputs: Iterable[DataStep] = ()
    outputs: Iterable[DataStep] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "inputs", tuple(self.inputs))
        object.__setattr__(self, "outputs", tuple(self.outputs))

    def push(self, inner: StepPair) -> StepPair:
        """This pair around `inner`, which is nearer to the model."""
        return StepPair((*self.inputs, *inner.inputs), (*inner.outputs, *self.outputs))

    def before(self, data: Data) -> Data:
        """What the model gets. Raises StepError."""
        for step in self.inputs:
            data = step(data)
        return data

    def after(self, data: Data) -> Data:
        """What the robot gets, of the model's `actions` and its `state`. Raises StepError."""
        for step in self.outputs:
            data = step(data)
        return data
