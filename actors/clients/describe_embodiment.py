"""The keys of an embodiment that fleet.yaml names, before anything runs.

One of the user's own is imported in a short-lived process: `python -m
holdfast.actors.clients.describe_embodiment`.
"""

from __future__ import annotations

import json
import sys

import msgspec

from ...errors import PolicyError
from ...policy.steps import RobotKeys, embodiment_of, registered
from ..runtime import questions
from ..runtime.user_code import blame

_MODULE = "holdfast.actors.clients.describe_embodiment"


class AskedEmbodiment(msgspec.Struct, frozen=True):
    """Which one, and where its module is looked for."""

    name: str
    import_path: str | None = None


class EmbodimentAnswer(msgspec.Struct, frozen=True):
    """Either its keys, or why there are none."""

    robot: RobotKeys | None = None
    error: str = ""


def robot_keys(name: str, import_path: str | None) -> RobotKeys:
    """The keys of the embodiment `name`, a shipped one or `module:name`. Raises PolicyError."""
    if name in registered() or ":" not in name:
        return embodiment_of(name).keys
    asked = AskedEmbodiment(name, import_path)
    question = json.dumps(msgspec.to_builtins(asked), sort_keys=True).encode()
    stamp = questions.edited_ns(name, import_path)
    said, otherwise = questions.ask(_MODULE, question, None, stamp)
    try:
        answer = msgspec.json.decode(said, type=EmbodimentAnswer)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise PolicyError(f"{name} cannot be asked for its keys: {otherwise}") from None
    if answer.robot is None:
        raise PolicyError(answer.error)
    return answer.robot


def respond(question: bytes) -> bytes:
    """The answer of this process."""
    asked = msgspec.json.decode(question, type=AskedEmbodiment)
    if asked.import_path is not None:
        sys.path.append(asked.import_path)
    try:
        answer = EmbodimentAnswer(embodiment_of(asked.name).keys)
    except PolicyError as error:
        answer = EmbodimentAnswer(error=str(error))
    except (Exception, SystemExit) as error:  # noqa: BLE001 of the user's own code
        answer = EmbodimentAnswer(error=f"{asked.name} cannot be imported: {blame(error)}")
    return msgspec.json.encode(answer)


if __name__ == "__main__":
    questions.answer(respond)
