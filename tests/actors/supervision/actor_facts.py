"""What the supervisor knows of the actors of one robot."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from holdfast.actors.supervision.report import ActorFacts


def facts_of(reports: Mapping[str, dict[str, Any]]) -> list[ActorFacts]:
    """Of the robot r1, whose actors of these kinds run and have reported so."""
    return [
        ActorFacts(
            name=f"r1/{kind}",
            kind=kind,
            robot="r1",
            pid=1,
            uptime_s=1.0,
            progress_age_s=0.0,
            memory_mb=1.0,
            last_exit=None,
            last_error=None,
            report=said,
        )
        for kind, said in reports.items()
    ]
