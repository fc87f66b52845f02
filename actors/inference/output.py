"""The check of a policy's return value against its spec.

The messages are for the author of the policy: what was returned, what was expected, what to change.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from types import GeneratorType

import numpy as np

from ...errors import WrongOutputError
from ...policy.base import Chunk, PolicySpec
from ...transport.arrays import all_finite

EXPECTED = "predict_chunk returns a list with one Chunk(model=..., robot=...) for each observation"


def chunks_of(returned: object, count: int) -> Sequence[object]:
    """`returned` as `count` entries. Raises WrongOutputError unless it is a list or tuple of that
    length."""
    if isinstance(returned, list | tuple):
        if len(returned) == count:
            return returned
        found = f"{len(returned)} chunks for {count} observations"
        raise WrongOutputError(f"the policy returned {found}: {EXPECTED}")
    hint = {
        type(None): "; is a `return` missing?",
        GeneratorType: "; put list(...) around it",
        Chunk: "; put it into a list",
    }.get(type(returned), "")
    raise WrongOutputError(f"the policy returned {_described(returned)}: {EXPECTED}{hint}")


def fault_of(chunk: object, spec: PolicySpec) -> WrongOutputError | None:
    """The fault of one chunk; None when it has the spec's shape and dtype and is finite."""
    if not isinstance(chunk, Chunk):
        return WrongOutputError(f"the policy returned a list of {_described(chunk)}: {EXPECTED}")
    for space, values in (("model", chunk.model), ("robot", chunk.robot)):
        fault = _array_fault(values, spec)
        if fault:
            return WrongOutputError(f"the policy returned a Chunk whose `{space}` {fault}")
    return None


def _array_fault(values: object, spec: PolicySpec) -> str:
    steps, actions = spec.chunk_size, len(spec.action_names)
    expected = f"its spec says an array float32[{steps}, {actions}]"
    if not isinstance(values, np.ndarray):
        hint = ": use .float().cpu().numpy()" if _is_tensor(values) else ""
        return f"is {_described(values)}, {expected}{hint}"
    if values.dtype != np.float32:
        return f"is {_described(values)}, {expected}: use .astype(np.float32)"
    if values.shape == (1, steps, actions):
        found = _described(values)
        return f"is {found}, {expected}: one Chunk for each observation, without a batch axis"
    if values.ndim == 2 and values.shape[1] != actions:
        return (
            f"has {values.shape[1]} columns, and its spec names {actions} actions "
            f"({', '.join(spec.action_names)[:200]}): a column is a motor; give exactly these"
        )
    if values.ndim == 2 and values.shape[0] != steps:
        return f"has {len(values)} steps, and its spec says chunk_size={steps}: make them agree"
    if values.shape != (steps, actions):
        return f"is {_described(values)}, {expected}"
    if not all_finite(values):
        finite = np.isfinite(values)
        step, column = map(int, np.argwhere(~finite)[0])
        return (
            f"is not finite in {int((~finite).sum())} of {values.size} values, first "
            f"{values[step, column]} at step {step} of '{spec.action_names[column]}': look at the "
            "observation (actorctl replay) and at its normalization"
        )
    return ""


def _described(value: object) -> str:
    if value is None:
        return "None"
    if isinstance(value, np.ndarray):
        return f"an array {value.dtype}{list(value.shape)}"
    if _is_tensor(value):
        dtype = str(getattr(value, "dtype", "")).removeprefix("torch.")
        return f"a torch tensor {dtype}{list(getattr(value, 'shape', ()))}"
    return f"a {type(value).__name__}"


def _is_tensor(value: object) -> bool:
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.Tensor)
