"""May several robots share one instance of a policy? A probe, before anybody is served.

Sharing is safe only if predicting a chunk leaves nothing behind in the instance and lets no sample
of a batch see another. A policy says so itself (`spec.stateful`); the probe checks what it says by
running it, and can only demote: what it finds is a proof of impurity, what it does not find is not
a proof of purity.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from ...policy.base import Chunk, ChunkPolicy, Observation

Mode = Literal["shared", "exclusive"]

STEPS = 3
"""Observations per probed session: enough for a policy that remembers its last call or two."""


def serving_mode(
    policy: ChunkPolicy, batched: bool, on_call: Callable[[], None] = lambda: None
) -> tuple[Mode, str]:
    """`shared` or `exclusive`, and the reason as a sentence.

    `batched` says whether batches will be used, and so whether they are probed. `on_call` is
    called after each prediction: a probe of a large policy takes a while.
    """
    if policy.spec.stateful:
        return "exclusive", "the policy declares that it remembers between calls"

    def predict(*batch: Observation) -> list[bytes]:
        chunks = policy.predict_chunk(batch)
        on_call()
        return [_bytes(chunk) for chunk in chunks]

    one = [policy.spec.example(seed) for seed in range(STEPS)]
    other = [policy.spec.example(1000 + seed) for seed in range(STEPS)]
    alone = [[predict(obs)[0] for obs in session] for session in (one, other)]
    together = [
        [first, second]
        for a, b in zip(one, other, strict=True)
        for first, second in [(predict(a)[0], predict(b)[0])]
    ]
    for step, (a, b) in enumerate(together):
        if a != alone[0][step] or b != alone[1][step]:
            return "exclusive", (
                f"two interleaved sessions got other chunks than each alone (step {step}): "
                "the policy remembers between calls although its spec says stateful: false"
            )
    if batched and predict(one[0], other[0])[0] != predict(one[0], other[1])[0]:
        return "exclusive", "a sample of a batch changed when only its neighbour did: samples mix"
    return "shared", "interleaved sessions match isolated ones bit for bit"


def _bytes(chunk: Chunk) -> bytes:
    return chunk.model.tobytes() + chunk.robot.tobytes()
