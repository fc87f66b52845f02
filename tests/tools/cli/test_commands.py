"""What all command lines have in common: help, version, Ctrl-C, checked options."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from holdfast.tools.bench import figures
from holdfast.tools.cli import actorctl_command, option_types, supervisor_command
from holdfast.tools.training import evaluate, train


def commands(command: Any, name: str) -> Iterator[tuple[str, Any]]:
    """Every command below `command`, with the words that call it."""
    for word, inner in getattr(command, "commands", {}).items():
        yield from commands(inner, f"{name} {word}")
    yield name, command


def single(main: Any) -> Any:
    app = typer.Typer(add_completion=False)
    app.command()(main)
    return typer.main.get_command(app)


ALL = [
    *commands(typer.main.get_command(supervisor_command.app), "supervisor"),
    *commands(typer.main.get_command(actorctl_command.app), "actorctl"),
    *commands(single(train.main), "train"),
    *commands(single(evaluate.main), "evaluate"),
]
SHELL = ("install_completion", "show_completion")


@pytest.mark.parametrize(("name", "command"), ALL, ids=[name for name, _ in ALL])
def test_every_command_and_every_option_is_explained(name: str, command: Any) -> None:
    """Each has a help text."""
    assert command.help, name
    for parameter in command.params:
        if not getattr(parameter, "hidden", False) and parameter.name not in SHELL:
            assert getattr(parameter, "help", None), f"{name}: {parameter.name}"


@pytest.mark.parametrize(
    "app", [supervisor_command.app, actorctl_command.app], ids=["supervisor", "actorctl"]
)
def test_a_command_prints_its_version(app: Any) -> None:
    """`--version` may stand before any command."""
    done = CliRunner().invoke(app, ["--version"])
    assert done.exit_code == 0 and done.output.startswith("holdfast ")


def test_the_package_lists_its_commands() -> None:
    """`python -m holdfast` prints them."""
    done = subprocess.run(
        [sys.executable, "-m", "holdfast"], capture_output=True, text=True, timeout=240, check=True
    )
    for word in ("supervisor start", "actorctl status", "--help"):
        assert word in done.stdout


def _interrupted() -> int:
    raise KeyboardInterrupt


@pytest.mark.parametrize("run", [option_types.run, figures.run], ids=["command", "benchmark"])
def test_ctrl_c_anywhere_ends_a_command_quietly_with_130(
    run: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """Commands and benchmarks alike."""
    with pytest.raises(SystemExit) as ended:
        run(_interrupted)
    assert ended.value.code == 130
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("given", ["-3", "0", "nan", "inf", "-inf", "soon", ""])
def test_a_duration_is_a_finite_positive_number_of_seconds(given: str) -> None:
    """Anything else ends with status 2."""
    done = CliRunner().invoke(supervisor_command.app, ["start", "--duration", given])
    assert done.exit_code == 2 and "number of seconds" in done.output


def test_a_negative_number_of_lines_is_refused() -> None:
    """The exit status is 2."""
    assert CliRunner().invoke(actorctl_command.app, ["logs", "-n", "-1"]).exit_code == 2
