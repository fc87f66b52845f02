"""The types of the figures on actors' boards."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

Count = Annotated[int, Meta(ge=0)]
Measure = Annotated[float, Meta(ge=0, le=1e300)]
"""Finite: JSON has no other numbers."""
Quantiles = dict[str, Measure | None]
BatchSize = Annotated[str, Meta(pattern=r"^[1-9][0-9]{0,5}\Z")]
