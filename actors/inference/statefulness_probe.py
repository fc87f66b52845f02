"""May several robots share one instance of a policy? A probe, before anybody is served.

Sharing is safe only if predicting a chunk leaves nothing behind in the instance and lets no sample
of a batch see another. A policy says so itself (`spec.stateful`); the probe checks what it says by
running it, and can only demote: what it finds is a proof of impurity, what it does not find is not
a proof of purity.

A policy that draws random numbers without using the observation's seed gives other chunks each
time without remembering anything. It is told apart by putting its random generators back before
each call, and may be shared; it is not deterministic, so that a replay gives other chunks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

from ...policy.base import Chunk, ChunkPolicy, Observation
from .example import Examples
from .randomness import Restore, repeatable

Mode = Literal["shared", "exclusive"]
Predict = Callable[[Sequence[Observation]], Sequence[Chunk]]

STEPS = 3
"""Observations per probed session: enough for a policy that remembers its last call or two."""


def serving_mode(
    policy: ChunkPolicy,
    batched: bool,
    examples: Examples | None = None,
    predict: Predict | None = None,
) -> tuple[Mode, str]:
    """`shared` or `exclusive`, and how it was decided, as a sentence.

    `batched` says whether batches will be used, and so whether they are probed. `predict` is how
    the policy is called: `policy.predict_chunk` by default.
    """
    if policy.spec.stateful:
        return "exclusive", "the policy declares that it remembers between calls"
    examples = examples or Examples(policy.spec)
    call = predict or policy.predict_chunk
    crossed = _crossed(call, examples, lambda: None)
    if crossed is None:
        mixed, how = (
            _mixes(call, examples, batched, lambda: None),
            "match isolated ones bit for bit",
        )
        return ("exclusive", mixed) if mixed else ("shared", f"interleaved sessions {how}")
    with repeatable(policy) as put_back:
        still = _crossed(call, examples, put_back)
        if still is None:
            mixed = _mixes(call, examples, batched, put_back)
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


def _crossed(call: Predict, examples: Examples, before: Restore) -> int | None:
    """The first step at which two interleaved sessions got other chunks than each alone."""
    one = [examples.full(seed) for seed in range(STEPS)]
    other = [examples.full(1000 + seed) for seed in range(STEPS)]

    def predict(observation: Observation) -> bytes:
        before()
        return _bytes(call([observation])[0])

    alone = [[predict(o) for o in session] for session in (one, other)]
    for step, (a, b) in enumerate(zip(one, other, strict=True)):
        if [predict(a), predict(b)] != [alone[0][step], alone[1][step]]:
            return step
    return None


def _mixes(call: Predict, examples: Examples, batched: bool, before: Restore) -> str:
    """How the samples of a batch see each other; empty if they do not."""
    if not batched:
        return ""
    firsts = []
    for neighbour in (1000, 1001):
        before()
        firsts.append(_bytes(call([examples.full(0), examples.full(neighbour)])[0]))
    if firsts[0] == firsts[1]:
        return ""
    return "a sample of a batch changed when only its neighbour did: samples mix"


def _bytes(chunk: Chunk) -> bytes:
    return chunk.model.tobytes() + chunk.robot.tobytes()
