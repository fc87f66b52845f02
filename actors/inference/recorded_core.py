"""The core of a replica with its records: the audit and the capture, in the directory of its
evidence."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

from ..runtime.audit import Audit
from ..runtime.configs import InferenceConfig
from .capture import Capture
from .history import Histories
from .policy_runner import PolicyRunner
from .replica_metrics import Meters
from .robot_memory import RobotMemory
from .self_description import origin
from .service import ReplicaCore


def recorded_core(
    name: str,
    config: InferenceConfig,
    rundir: Path,
    runner: PolicyRunner,
    memories: Mapping[str, RobotMemory],
    meters: Meters,
    histories: Histories,
    log: logging.Logger,
) -> ReplicaCore:
    """The core of the replica `name`."""
    place = name.replace("/", ".")
    evidence = Path(config.evidence or rundir)
    return ReplicaCore(
        name,
        config,
        runner,
        memories,
        meters,
        Audit(evidence / "audit" / f"{place}.jsonl", config.audit_bytes),
        Capture(evidence / "capture" / place, config.capture_bytes, origin(config, runner)),
        histories,
        log,
    )
