"""`Method`: one way to live with delay; `Study`: those of a policy on a task."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import Any

from ...actors.control.config import MergeMode, Trim
from ...policy.base import ChunkPolicy
from ...policy.checkpoint import read_config
from ...policy.kinds import load_policy
from .delay_scene import TASKS


@dataclass(frozen=True)
class Method:
    """One way to live with delay."""

    name: str
    merge: MergeMode = "replace"
    trim: Trim = "time"
    prefix: str = "none"
    jacobian: str = "gradient"
    waits: bool = False
    """Ask only when the plan is played out."""

    def policy(self, checkpoint: str) -> ChunkPolicy:
        kind = read_config(checkpoint).kind
        options: dict[str, Any] = {} if kind != "flow" else {"prefix": self.prefix}
        if self.prefix == "guided":
            options["jacobian"] = self.jacobian
        return load_policy(kind, checkpoint, **options)


PLAIN = (
    Method("sync", merge="append", waits=True),
    Method("append", merge="append"),
    Method("consumed", trim="consumed"),
    Method("time"),
)
ALL = (
    *PLAIN,
    Method("guided-gradient", prefix="guided"),
    Method("guided-identity", prefix="guided", jacobian="identity"),
    Method("trained", prefix="trained"),
)


@dataclass(frozen=True)
class Study:
    """A policy on a task, by several methods."""

    checkpoint: str
    task: str
    methods: tuple[Method, ...]


STUDIES = (
    Study("conveyor-flow", "conveyor", ALL),
    Study("conveyor-act", "conveyor", PLAIN),
    Study("pusht-flow", "pusht", ALL),
)


def studies_of(
    tasks: Sequence[str], checkpoint: str | None = None, only: Sequence[str] = ()
) -> list[Study]:
    """What is to be measured: on `tasks`, of `checkpoint` alone if there is one, by the methods
    `only`, or by all that its kind of policy has. Raises ValueError."""
    found = [study for study in STUDIES if study.task in tasks]
    if checkpoint:
        if len(tasks) != 1:
            raise ValueError("--checkpoint is for one --task")
        methods = ALL if read_config(checkpoint).kind == "flow" else PLAIN
        found = [Study(checkpoint, tasks[0], methods)]
    unknown = sorted(set(only) - {method.name for method in ALL})
    if unknown:
        names = ", ".join(method.name for method in ALL)
        raise ValueError(f"--only {unknown[0]}: there is no such method; there are {names}")
    if only:
        kept = [
            replace(study, methods=tuple(m for m in study.methods if m.name in only))
            for study in found
        ]
        found = [study for study in kept if study.methods]
    for task in tasks:
        for package in TASKS[task].needs:
            if not find_spec(package):
                name = package.replace("_", "-")
                raise ValueError(f"--task {task} needs {name}: pip install {name}")
    return found
