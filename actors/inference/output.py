"""What a policy returned, held against what its spec says it returns.

The words are for whoever wrote the policy: what came, what was expected, what to change.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from types import GeneratorType

import numpy as np

from ...errors import WrongOutputError
from ...policy.base import Chunk, PolicySpec

WANTED = "predict_chunk returns a list with one Chunk(model=..., robot=...) for each observation"


def chunks_of(returned: object, count: int) -> Sequence[object]:
    """What was returned for `count` observations, one entry each. Raises WrongOutputError for what
    is no list of so many."""
    if isinstance(returned, list | tuple):
        if len(returned) == count:
            return returned
        found = f"{len(returned)} chunks for {count} observations"
        raise WrongOutputError(f"the policy returned {found}: {WANTED}")
    hint = {
        type(None): "; is a `return` missing?",
        GeneratorType: "; put list(...) around it",
        Chunk: "; put it into a list",
    }.get(type(returned), "")
    raise WrongOutputError(f"the policy returned {_what(returned)}: {WANTED}{hint}")


def fault_of(chunk: object, spec: PolicySpec) -> WrongOutputError | None:
    """What is wrong with one chunk; None when it has the spec's shape and is finite."""
    if not isinstance(chunk, Chunk):
        return WrongOutputError(f"the policy returned a list of {_what(chunk)}: {WANTED}")
    for space, values in (("model", chunk.model), ("robot", chunk.robot)):
        words = _array_fault(values, spec)
        if words:
            return WrongOutputError(f"the policy returned a Chunk whose `{space}` {words}")
    return None


def _array_fault(values: object, spec: PolicySpec) -> str:
    steps, actions = spec.chunk_size, len(spec.action_names)
    wanted = f"its spec says an array float32[{steps}, {actions}]"
    if not isinstance(values, np.ndarray):
        hint = ": use .float().cpu().numpy()" if _is_tensor(values) else ""
        return f"is {_what(values)}, {wanted}{hint}"
    if values.dtype != np.float32:
        return f"is {_what(values)}, {wanted}: use .astype(np.float32)"
    if values.shape == (1, steps, actions):
        return f"is {_what(values)}, {wanted}: one Chunk for each observation, without a batch axis"
    if values.ndim == 2 and values.shape[1] != actions:
        return (
            f"has {values.shape[1]} columns, and its spec names {actions} actions "
            f"({', '.join(spec.action_names)[:200]}): a column is a motor; give exactly these"
        )
    if values.ndim == 2 and values.shape[0] != steps:
        return f"has {len(values)} steps, and its spec says chunk_size={steps}: make them agree"
    if values.shape != (steps, actions):
        return f"is {_what(values)}, {wanted}"
    finite = np.isfinite(values)
    if not finite.all():
        step, column = map(int, np.argwhere(~finite)[0])
        return (
            f"is not finite in {int((~finite).sum())} of {values.size} values, first "
            f"{values[step, column]} at step {step} of '{spec.action_names[column]}': look at the "
            "observation (actorctl replay) and at its normalization"
        )
    return ""


def _what(thing: object) -> str:
    if thing is None:
        return "None"
    if isinstance(thing, np.ndarray):
        return f"an array {thing.dtype}{list(thing.shape)}"
    if _is_tensor(thing):
        dtype = str(getattr(thing, "dtype", "")).removeprefix("torch.")
        return f"a torch tensor {dtype}{list(getattr(thing, 'shape', ()))}"
    return f"a {type(thing).__name__}"


def _is_tensor(thing: object) -> bool:
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(thing, torch.Tensor)
