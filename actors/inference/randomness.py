"""The random generators that a policy draws from, saved and restored.

With the same randomness a stateless policy gives the same chunk again, which distinguishes a random
policy from a stateful one. Restored are the global generators of Python, numpy and torch, those
that the policy holds (`policy.held_objects`), and the seeds of new numpy generators. Other sources
(another library's, the operating system's) are not.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
from numpy.random import bit_generator

from ...policy.held_objects import reachable

Restore = Callable[[], object]


@contextmanager
def repeatable(policy: object) -> Iterator[Restore]:
    """A context whose value restores all generators when called; they are restored at its end."""
    restores = list(_generators(policy))

    def restore_all() -> None:
        for restore in restores:
            restore()

    module: Any = bit_generator
    entropy = getattr(module, "randbits", None)  # the seed of an unseeded numpy generator
    if entropy is not None:
        module.randbits = lambda _bits: 1
    try:
        yield restore_all
    finally:
        if entropy is not None:
            module.randbits = entropy
        restore_all()


def _generators(policy: object) -> Iterator[Restore]:
    yield partial(random.setstate, random.getstate())
    yield partial(np.random.set_state, np.random.get_state())  # noqa: NPY002 others use it
    torch = sys.modules.get("torch")
    if torch is not None:
        yield partial(torch.set_rng_state, torch.get_rng_state())
        if torch.cuda.is_initialized():
            yield partial(torch.cuda.set_rng_state_all, torch.cuda.get_rng_state_all())
    for held in reachable(policy):
        if isinstance(held, np.random.Generator):
            yield partial(setattr, held.bit_generator, "state", held.bit_generator.state)
        elif isinstance(held, np.random.RandomState):
            yield partial(held.set_state, held.get_state())
        elif isinstance(held, random.Random) and not isinstance(held, random.SystemRandom):
            yield partial(held.setstate, held.getstate())
        elif torch is not None and isinstance(held, torch.Generator):
            yield partial(held.set_state, held.get_state())
