"""Which release of Holdfast this process runs."""

from __future__ import annotations

from functools import cache


@cache
def release() -> str:
    """The installed version; the first call reads the package's metadata."""
    from importlib.metadata import version

    return version("holdfast")


def other_release(of_supervisor: str) -> str:
    """Why a boot may not fit, if its supervisor is of another release than this process, because
    Holdfast was upgraded while the supervisor ran; empty if it is not, or did not name its own."""
    if of_supervisor in ("", release()):
        return ""
    return (
        f"; the supervisor runs Holdfast {of_supervisor} and the actor {release()}: stop the fleet "
        "and start it again"
    )
