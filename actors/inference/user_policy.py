"""A policy of the user's own, by the name `module:Class` or `module:function` in fleet.yaml.

The class, or the function that makes the policy, is called with the service's `options` as
keywords, and with `checkpoint`, `revision`, `device` and `dtype` where the file gives them.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...errors import PolicyError
from ...policy.base import ChunkPolicy, PolicySpec
from ...policy.policy_options import OPTIONS
from ...policy.weights import weights_hash
from ..runtime.user_classes import constructor_missing, uncallable, unfinished
from ..runtime.user_code import blame, load
from .given_policy import GivenPolicy

SERVERS = {
    "openpi": "holdfast.actors.clients.openpi_policy:OpenpiPolicy",
    "groot": "holdfast.actors.clients.groot_policy:GrootPolicy",
}
"""Policies that other servers run, by kind: made as the user's own are, and asked there."""

LIBRARIES = {
    "lerobot": "holdfast.policy.lerobot.policy:LeRobotPolicy",
    "pi0": "holdfast.policy.pi0.pi_policy:Pi0Policy",
    "pi05": "holdfast.policy.pi0.pi_policy:Pi05Policy",
    "pi0_fast": "holdfast.policy.pi0.pi_policy:Pi0FastPolicy",
}
"""Policies of another project's checkpoints, by kind: made as the user's own are, in the
interpreter that has what they need."""

ADAPTERS = {**SERVERS, **LIBRARIES}

_BUILT_IN = {**dict.fromkeys(OPTIONS, ""), **ADAPTERS}
"""The others' names are for messages: they are loaded elsewhere."""


def is_own(policy: str) -> bool:
    """Whether `policy` names the user's code, or another project's: not a kind that is built in."""
    return ":" in policy or policy in ADAPTERS


def keywords(
    options: Mapping[str, Any],
    checkpoint: str | None = None,
    device: str = "cpu",
    dtype: str = "float32",
    revision: str | None = None,
) -> dict[str, Any]:
    """What the user's class is called with: a key that is not in the file is left to its default.
    Raises PolicyError for an option that is a key of the service."""
    named = {
        "checkpoint": checkpoint,
        "revision": revision,
        "device": None if device == "cpu" else device,
        "dtype": None if dtype == "float32" else dtype,
    }
    if twice := [name for name in named if name in options]:
        raise PolicyError(
            f"options: {', '.join(twice)}: the service has keys of its own for that; write "
            f"`{twice[0]}:` beside `options:`"
        )
    return {**options, **{key: value for key, value in named.items() if value is not None}}


def create(name: str, given: Mapping[str, Any], import_path: str | None = None) -> ChunkPolicy:
    """The policy that `name` means, made with the keywords `given`. Raises PolicyError, with file
    and line of the user's code that failed, when it cannot be made or is no policy."""
    make = load(name, _BUILT_IN, import_path, "policy", PolicyError)
    made = _called(name, make, given)
    if not callable(getattr(made, "predict_chunk", None)):
        raise PolicyError(
            f"{name} made a {type(made).__name__} without predict_chunk(observations): add it; it "
            "returns a holdfast.Chunk for each observation"
        )
    if why := uncallable(made, ChunkPolicy):
        raise PolicyError(f"{name}: {why}")
    spec = _spec(name, getattr(made, "spec", None), "`spec`")
    return GivenPolicy(made, spec, _hash(made, given))


def describe(name: str, given: Mapping[str, Any], import_path: str | None = None) -> PolicySpec:
    """The spec of the policy that `name` means. It is made for that, unless its class has a
    `describe` that takes the same keywords and returns the spec: for a policy that loads long, or
    onto a GPU. Raises PolicyError."""
    make = load(name, _BUILT_IN, import_path, "policy", PolicyError)
    if callable(said := getattr(make, "describe", None)):
        return _spec(name, _called(f"{name}.describe", said, given), "what `describe` returned")
    return create(name, given, import_path).spec


def _called(name: str, make: Any, given: Mapping[str, Any]) -> Any:
    if why := unfinished(make, ChunkPolicy):
        raise PolicyError(f"{name}: {why}")
    try:
        return make(**given)
    except PolicyError:
        raise
    except (Exception, SystemExit) as error:
        shown = ", ".join(f"{key}={value!r}" for key, value in given.items())
        remedy = constructor_missing(make, ChunkPolicy, given) or (
            "mend it there, or the service's `options`"
        )
        raise PolicyError(f"{name}({shown}) raised {blame(error)}; {remedy}") from error


def _spec(name: str, spec: object, what: str) -> PolicySpec:
    if not isinstance(spec, PolicySpec):
        raise PolicyError(
            f"{name}: {what} is {spec!r:.80}, expected a holdfast.PolicySpec right after the "
            "construction"
        )
    return spec


def _hash(made: Any, given: Mapping[str, Any]) -> str:
    """The policy's own name of its weights; else a hash of them and of the options. A policy
    without weights is its code."""
    if own := getattr(made, "checkpoint_hash", None):
        return str(own)
    found = weights_hash(made) or _code_hash(made)
    options = {key: value for key, value in given.items() if key not in ("checkpoint", "device")}
    if not options:
        return found
    plain = json.dumps(options, sort_keys=True, default=repr)
    return hashlib.sha256(f"{found} {plain}".encode()).hexdigest()


def _code_hash(made: Any) -> str:
    module = sys.modules.get(type(made).__module__)
    file = getattr(module, "__file__", None)
    content = Path(file).read_bytes() if file else type(made).__qualname__.encode()
    return hashlib.sha256(content).hexdigest()
