"""The commands of `holdfast-train` in this process, for tests."""

from __future__ import annotations

import typer
from typer.testing import CliRunner, Result

from holdfast.tools.training import train


def invoked(function: object, *arguments: str) -> Result:
    """What a command prints and returns."""
    app = typer.Typer()
    app.command()(function)  # type: ignore[type-var]
    return CliRunner().invoke(app, list(arguments))


def trained(*arguments: str) -> Result:
    """What `holdfast-train` prints and returns, on the CPU."""
    return invoked(train.main, *arguments, "--device", "cpu")
