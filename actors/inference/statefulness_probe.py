"""The probe that decides, before a robot is served, whether robots may share a policy instance.

Sharing is safe only if a prediction leaves no state in the instance and no sample of a batch
influences another. A policy declares that (`spec.stateful`); the probe checks the declaration by
running the policy, and can only demote: a difference proves state, no difference proves nothing.

A policy that draws random numbers without using the observation's seed gives other chunks each
time without being stateful. The probe distinguishes it by restoring its random generators before
each call. It may be shared; it is not deterministic, so that a replay gives other chunks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Literal

import numpy as np

from ...policy.base import Chunk, ChunkPolicy, Observation
from .example import Examples
from .randomness import Restore, repeatable

Mode = Literal["shared", "exclusive"]
Predict = Callable[[Sequence[Observation]], Sequence[Chunk]]

NEIGHBOURS = (1000, 1001, 1002)
"""The seeds of the samples beside a probed one."""

ROUNDING = 0.02
"""The most that a kernel of another shape changes, as a part of a chunk's largest value: some units
in the last place of bfloat16."""

STEPS = 3
"""Observations per probed session: enough for a policy that keeps its last call or two."""


def serving_mode(
    policy: ChunkPolicy,
    batched: bool,
    examples: Examples | None = None,
    predict: Predict | None = None,
) -> tuple[Mode, str]:
    """`shared` or `exclusive`, and the reason as a sentence.

    `batched` says whether batches will be used, and so whether they are probed. `predict` calls the
    policy; the default is `policy.predict_chunk`.
    """
    if policy.spec.stateful:
        return "exclusive", "the policy declares that it remembers between calls"
    examples = examples or Examples(policy.spec)
    call = predict or policy.predict_chunk
    crossed = _first_difference(call, examples, lambda: None)
    if crossed is None:
        mixed, how = (
            _mixing(call, examples, batched, lambda: None),
            "match isolated ones bit for bit",
        )
        return ("exclusive", mixed) if mixed else ("shared", f"interleaved sessions {how}")
    with repeatable(policy) as restore:
        step = _first_difference(call, examples, restore)
        if step is None:
            mixed = _mixing(call, examples, batched, restore)
            return ("exclusive", mixed) if mixed else ("shared", _NOT_DETERMINISTIC)
    return "exclusive", (
        f"two interleaved sessions got other chunks than each alone (step {crossed}), also with "
        "its random generators put back before each call: it remembers between calls although "
        "its spec says stateful: false, or draws random numbers from where they cannot be put back "
        "(let it use observation.seed)"
    )


_NOT_DETERMINISTIC = (
    "the policy is not deterministic: it draws random numbers without using observation.seed; with "
    "its random generators put back before each call, interleaved sessions match isolated ones bit "
    "for bit, so it remembers nothing"
)


def _first_difference(call: Predict, examples: Examples, before: Restore) -> int | None:
    """The first step at which two interleaved sessions got other chunks than each alone."""
    one = [examples.full(seed) for seed in range(STEPS)]
    other = [examples.full(1000 + seed) for seed in range(STEPS)]

    def predict(observation: Observation, session: str) -> bytes:
        before()
        return _bytes(call([replace(observation, session=session)])[0])

    # Each run is a session of its own: what a policy keeps by session is not shared.
    alone = [[predict(o, session) for o in given] for given, session in ((one, "a"), (other, "b"))]
    for step, (a, b) in enumerate(zip(one, other, strict=True)):
        if [predict(a, "c"), predict(b, "d")] != [alone[0][step], alone[1][step]]:
            return step
    return None


def _mixing(call: Predict, examples: Examples, batched: bool, before: Restore) -> str:
    """How the samples of a batch influence each other; empty if they do not.

    A neighbour may change the rounding without mixing: its text may pad those of the batch to
    another length, and kernels of another shape sum in another order. Such shapes are few, so that
    two of three neighbours give the same bytes, and the other one the same within rounding.
    """
    if not batched:
        return ""
    found: list[Chunk] = []
    for neighbour in NEIGHBOURS:
        before()
        pair = [
            replace(examples.full(seed), session=f"{seed} beside {neighbour}")
            for seed in (0, neighbour)
        ]
        found.append(call(pair)[0])
        if len(found) > 1 and len({_bytes(chunk) for chunk in found}) == 1:
            return ""
    same = len({_bytes(chunk) for chunk in found}) < len(found)
    if same and all(_near(found[0], other) for other in found[1:]):
        return ""
    return "a sample of a batch changed when only its neighbour did: samples mix"


def _near(one: Chunk, other: Chunk) -> bool:
    """Whether two chunks are the same within rounding."""
    return all(
        np.allclose(a, b, rtol=0, atol=ROUNDING * float(np.abs(a).max(initial=0)), equal_nan=True)
        for a, b in ((one.model, other.model), (one.robot, other.robot))
    )


def _bytes(chunk: Chunk) -> bytes:
    return chunk.model.tobytes() + chunk.robot.tobytes()
