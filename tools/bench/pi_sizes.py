"""Sizes for benchmarks of π0 and π0.5. No torch: other projects' interpreters read them too."""

from __future__ import annotations

from ...policy.pi0.architecture import Architecture, Family, GemmaSizes, VisionSizes

VIEWS = ("base", "left_wrist", "right_wrist")
WORDS = 20
"""Tokens of each prompt."""


def small(family: Family) -> Architecture:
    """64 wide and 4 layers deep: what a CPU computes in milliseconds."""
    return Architecture(
        family=family,
        vision=VisionSizes(width=32, layers=2, heads=4, mlp=48, pixels=42),
        language=GemmaSizes(width=64, mlp=96, layers=4, heads=4, head=16),
        expert=GemmaSizes(width=48, mlp=64, layers=4, heads=4, head=16),
        words=512 if family == "pi0_fast" else 128,
        steps=10,
    )
