"""What a policy of the user's own says about itself, before anything runs: its spec.

It is asked in the interpreter that will serve it: `python -m
holdfast.actors.inference.describe_policy`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec

from ...errors import PolicyError
from ...policy.base import PolicySpec
from ..runtime import questions
from . import user_policy

_MODULE = "holdfast.actors.inference.describe_policy"


class AskedPolicy(msgspec.Struct, frozen=True):
    """Which policy, as its service's entry in the fleet file names it, and what it is called
    with (`user_policy.keywords`)."""

    policy: str
    given: dict[str, Any] = {}
    import_path: str | None = None


class PolicyAnswer(msgspec.Struct, frozen=True):
    """Either the spec, or why there is none."""

    spec: PolicySpec | None = None
    error: str = ""


def describe(asked: AskedPolicy, python: str | None = None) -> PolicySpec:
    """The spec of the policy, in the interpreter `python` (None: this one). Raises PolicyError for
    one that cannot be imported or made, with what its own code did."""
    # In the file's order: that of a map's keys may be that of a policy's names.
    question = json.dumps(msgspec.to_builtins(asked)).encode()
    said, otherwise = questions.ask(_MODULE, question, python, _stamp(asked))
    try:
        answer = msgspec.json.decode(said, type=PolicyAnswer)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise PolicyError(
            f"{asked.policy} cannot be asked for its spec: {otherwise}; where it loads long, give "
            "it a classmethod `describe`, which takes the same keywords and returns the spec"
        ) from None
    if answer.spec is None:
        raise PolicyError(answer.error)
    return answer.spec


def _stamp(asked: AskedPolicy) -> int:
    """When the user's module or the checkpoint was edited last."""
    stamps = [questions.edited_ns(asked.policy, asked.import_path)]
    if checkpoint := asked.given.get("checkpoint"):
        place = Path(checkpoint)
        try:
            stamps += [path.stat().st_mtime_ns for path in (place, *place.glob("*"))]
        except OSError:  # not a path of this machine
            stamps.append(0)
    return max(stamps)


def respond(question: bytes) -> bytes:
    """The answer of this process."""
    asked = msgspec.json.decode(question, type=AskedPolicy)
    try:
        spec = user_policy.describe(asked.policy, asked.given, asked.import_path)
        answer = PolicyAnswer(spec)
    except PolicyError as error:
        answer = PolicyAnswer(error=str(error))
    return msgspec.json.encode(answer)


if __name__ == "__main__":
    questions.answer(respond)
