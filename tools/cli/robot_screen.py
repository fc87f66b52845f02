"""A probe of a robot for a terminal. Imports rich."""

from __future__ import annotations

from typing import Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from .robot_probe import Look


def table(look: Look) -> RenderableType:
    """A probe for a terminal."""
    parts: list[RenderableType] = [Text(f"{look.robot}, by {look.by}; commands nothing")]
    if look.values:
        values = Table(box=None, pad_edge=False, header_style="dim")
        for heading in ("state", "now", "lowest", "highest"):
            values.add_column(heading, justify="left" if heading == "state" else "right")
        for name, value in look.values.items():
            numbers = (f"{v:.4g}" for v in (value, look.low[name], look.high[name]))
            values.add_row(name, *numbers)
        parts.append(values)
        age = "" if look.state_age_ms is None else f", the newest {look.state_age_ms:.0f} ms old"
        rate = "" if look.rate_hz is None else f": {look.rate_hz:.1f} per second"
        parts.append(Text(f"{look.measurements} measurements in {look.took_s:.1f} s{rate}{age}"))
    if look.read_ms:
        took = ", ".join(f"{key} {ms:.3g} ms" for key, ms in look.read_ms.items())
        parts.append(Text(f"reading took {took}"))
    errors = ", ".join(f"{count} of {call}" for call, count in look.errors.items())
    parts.append(Text(f"errors: {errors or 'none'}"))
    for name, camera in look.cameras.items():
        fps = "no frames" if camera.fps is None else f"{camera.fps:.1f} frames per second"
        parts.append(Text(f"camera {name}: {camera.reason or fps}"))
    if look.reason:
        parts.append(Text(look.reason, style="red"))
    return Group(*parts)


class RobotScreen:
    """Shows a probe while it is made, on a terminal."""

    def __init__(self, as_json: bool) -> None:
        console = Console()
        wanted = console.is_terminal and not as_json
        self._live = Live(console=console, transient=True, auto_refresh=False) if wanted else None

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._live is not None:
            self._live.stop()

    def show(self, look: Look) -> None:
        if self._live is not None:
            self._live.update(table(look), refresh=True)
