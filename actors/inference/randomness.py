"""The random generators that a policy draws from, put back to where they were.

For telling a policy that is random from one that remembers: with the same randomness, one that does
not remember gives the same chunk again. Found are the global generators of Python, numpy and torch,
those that the policy holds (see `policy.reach`), and numpy's that are made anew without a seed.
Anything else random (another library's, the operating system's) is not.
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
    """Gives a function that puts all of them back; they go on from where they were afterwards."""
    restores = list(_generators(policy))

    def put_back() -> None:
        for restore in restores:
            restore()

    module: Any = bit_generator
    entropy = getattr(module, "randbits", None)  # where an unseeded numpy generator begins
    if entropy is not None:
        module.randbits = lambda _bits: 1
    try:
        yield put_back
    finally:
        if entropy is not None:
            module.randbits = entropy
        put_back()


def _generators(policy: object) -> Iterator[Restore]:
    yield partial(random.setstate, random.getstate())
    yield partial(np.random.set_state, np.random.get_state())  # noqa: NPY002 others use it
    torch = sys.modules.get("torch")
    if torch is not None:
        yield partial(torch.set_rng_state, torch.get_rng_state())
        if torch.cuda.is_initialized():
            yield partial(torch.cuda.set_rng_state_all, torch.cuda.get_rng_state_all())
    for thing in reachable(policy):
        if isinstance(thing, np.random.Generator):
            yield partial(setattr, thing.bit_generator, "state", thing.bit_generator.state)
        elif isinstance(thing, np.random.RandomState):
            yield partial(thing.set_state, thing.get_state())
        elif isinstance(thing, random.Random) and not isinstance(thing, random.SystemRandom):
            yield partial(thing.setstate, thing.getstate())
        elif torch is not None and isinstance(thing, torch.Generator):
            yield partial(thing.set_state, thing.get_state())
