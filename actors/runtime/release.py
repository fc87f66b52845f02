"""Which release of Holdfast this process runs."""

from __future__ import annotations

from functools import cache


@cache
def release() -> str:
    """The installed version; the first call reads the package's metadata."""
    from importlib.metadata import version

    return version("holdfast")
