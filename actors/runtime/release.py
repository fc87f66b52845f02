"""Which release of Holdfast this process runs."""

from __future__ import annotations

from functools import cache


@cache
def release() -> str:
    """The installed version; reads the package's metadata when first asked."""
    from importlib.metadata import version

    return version("holdfast")
