"""Run captured requests again, offline: `actorctl replay FILE`.

A replica whose service has `capture_bytes` in fleet.yaml keeps its requests and replies whole. This
loads the same policy, gives it the same batches through the same code, and prints which answers
differ from those the robots got. Exit status 0 only if all are the same, byte for byte.

A service whose policy was compiled is replayed eagerly: what a compiler makes, and where it takes
it, may be another at each start. The answers then differ by rounding.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console

from ...actors.inference.capture import Origin, ReplayDifference, read, replay
from ...actors.inference.policy_loading import loaded
from ...actors.inference.policy_runner import PolicyRunner
from ...actors.inference.served_session import TaskRule
from ...errors import CaptureError, PolicyError

COMPILED = ("pi0", "pi05")
"""The policies that have the option `compile`."""


@dataclass
class Result:
    """What a capture holds and how much of it came out the same. `compiled` is whether some of it
    was served with `compile` on a CPU, for which that is."""

    answers: int = 0
    batches: int = 0
    differences: list[ReplayDifference] = field(default_factory=list)
    compiled: bool = False


def run(path: Path, checkpoint: str | None = None, device: str | None = None) -> Result:
    """Replay a whole capture; `checkpoint` and `device` replace those it was made with.

    Raises CaptureError, or PolicyError when the policy cannot be loaded.
    """
    result = Result()
    served: PolicyRunner | None = None
    loaded: Origin | None = None
    tasks = TaskRule()
    for record in read(path):
        if isinstance(record, Origin):
            if record != loaded:
                served, loaded = _load(record, checkpoint, device), record
                result.compiled |= record.device == "cpu" and _eager(record) != record.options
                tasks = TaskRule(record.pin_task, record.default_task)
            continue
        if served is None:
            raise CaptureError(f"{path} does not begin by what served it: it is no whole capture")
        result.batches += 1
        result.answers += len(record.exchanges)
        result.differences += replay(record, served, tasks)
    if served is None:
        raise CaptureError(f"{path} holds no requests: it is no capture, or of a replica that died")
    return result


def _load(origin: Origin, checkpoint: str | None, device: str | None) -> PolicyRunner:
    policy = loaded(
        origin.policy,
        checkpoint or origin.checkpoint,
        device or origin.device,
        origin.dtype,
        _eager(origin),
        origin.import_path,
        origin.revision,
    )
    if policy.checkpoint_hash != origin.checkpoint_hash:
        raise CaptureError(
            f"checkpoint {checkpoint or origin.checkpoint} has hash {policy.checkpoint_hash[:12]}, "
            f"the capture was made with {origin.checkpoint_hash[:12]}: give that one with "
            "--checkpoint"
        )
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(origin.threads)
    return PolicyRunner(policy)


def _eager(origin: Origin) -> dict[str, Any]:
    """The options of what served, without `compile`."""
    wanted = origin.options.get("compile") not in (None, False, "off")
    off = {"compile": "off"} if wanted and origin.policy in COMPILED else {}
    return {**origin.options, **off}


def show(capture: Path, checkpoint: str | None, device: str | None) -> int:
    """Replay, print the result, and return the exit status."""
    console = Console()
    try:
        result = run(capture, checkpoint, device)
    except (CaptureError, PolicyError, OSError) as problem:
        Console(stderr=True).print(str(problem), style="red", markup=False)
        return 2
    for d in result.differences[:20]:
        request = f"{d.robot} session {d.session} seq {d.seq}"
        console.print(f"{request}: captured {d.captured}, replayed {d.replayed}")
    if result.compiled:
        console.print(
            "the service had the option `compile`: it was replayed eagerly, and the answers of "
            "compiled batches differ by rounding"
        )
    same = result.answers - len(result.differences)
    console.print(f"{same} of {result.answers} answers are the same, in {result.batches} batches")
    return 1 if result.differences else 0
