"""What `actorctl policy verify` prints: JSON, and the same for people."""

from __future__ import annotations

from typing import Any

from .deployed_verification import Question
from .verification_run import Verified

_WIDE = 32
"""Columns for a group of steps: three figures."""


def plain(question: Question, found: Verified) -> dict[str, Any]:
    """For JSON."""
    return {
        "service": question.offer.name,
        "model": f"{question.offer.model} {question.offer.revision}",
        "dataset": str(question.dataset),
        "samples": found.samples,
        "ok": found.ok,
        "joints": found.errors.rows(),
        "cameras": [
            {"name": name, "pixels": round(difference, 3)}
            for name, difference in found.pixels.items()
        ],
        "findings": [
            {"subject": each.subject, "words": each.words, "beyond": each.beyond}
            for each in found.findings
        ],
    }


def text(told: dict[str, Any]) -> str:
    """A table of the joints' errors by group of steps (mean / 95 % / max, in the action's units),
    the images, and the verdicts."""
    joints = told["joints"]
    heads = [group["steps"] for group in joints[0]["steps"]]
    of_what = f"{told['samples']} samples of {told['dataset']}"
    lines = [
        f"{told['service']} ({told['model']}) against {of_what}",
        f"{'joint':24}{'moves by':>9}  " + "".join(f"{f'steps {h}':>{_WIDE}}" for h in heads),
    ]
    for joint in joints:
        cells = "".join(f"{_figures(group):>{_WIDE}}" for group in joint["steps"])
        lines.append(f"{joint['name']:24.24}{joint['span']:>9.3g}  {cells}")
    lines += [
        f"camera {each['name']}: its pixels differ from the training's by {each['pixels']:.1f} of "
        "255 on average"
        for each in told["cameras"]
    ]
    for each in told["findings"]:
        mark = "✗" if each["beyond"] else "·"
        lines.append(f"{mark} {each['subject']}: {each['words']}")
    if told["ok"]:
        lines.append("deployed as trained: nothing is beyond the tolerances")
    return "\n".join(lines)


def _figures(group: dict[str, Any]) -> str:
    if not group["n"]:
        return "-"
    return " / ".join(f"{group[key]:.3g}" for key in ("mean", "p95", "max"))
