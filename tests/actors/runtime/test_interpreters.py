"""Whether an actor can run in the interpreter that a fleet file names, and why not."""

from __future__ import annotations

import shutil
import sys
import venv
from pathlib import Path

import pytest

from holdfast.actors.runtime import interpreters
from holdfast.actors.runtime.interpreters import Interpreter, examine, lacks


def script(folder: Path, text: str) -> str:
    """A program at a path of its own."""
    path = folder / "python"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


def test_an_interpreter_with_holdfast_is_usable() -> None:
    """This one, with its version."""
    version = ".".join(map(str, sys.version_info[:3]))
    assert examine(sys.executable) == Interpreter(version, "")
    assert lacks(sys.executable, ("json", "no_such_module")) == ["no_such_module"]


def test_the_working_directory_is_no_place_to_import_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder called holdfast there does not stand for the package."""
    (tmp_path / "holdfast").mkdir()
    (tmp_path / "holdfast" / "__init__.py").write_text("raise SystemExit('wrong')")
    monkeypatch.chdir(tmp_path)
    interpreters.examine.cache_clear()
    assert examine(sys.executable).fault == ""


def test_an_environment_without_holdfast_is_told_how_to_install_it(tmp_path: Path) -> None:
    """The command is of that interpreter, and names the source that this one runs."""
    venv.create(tmp_path / "bare", symlinks=True)
    python = f"{tmp_path}/bare/bin/python"
    found = examine(python)
    assert found.version and found.fault.startswith(f"{python} has no holdfast: ")
    assert f"`{python} -m pip install -e {Path(interpreters.__file__).parents[2]}`" in found.fault


def test_an_older_python_is_refused_by_its_version(tmp_path: Path) -> None:
    """Also one that does not know the options that actors are started with."""
    old = next(Path.home().glob(".pyenv/versions/3.10.*/bin/python"), None)
    old = old or Path(shutil.which("python3.10") or "/none")
    python = str(old) if old.exists() else script(tmp_path, "echo 3 10 13; exit 1")
    assert examine(python).fault.endswith(", expected 3.11 or newer"), examine(python)
    assert " is Python 3.10." in examine(python).fault


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda folder: "/bin/true", "is no Python interpreter: asked for its version, it said"),
        (lambda folder: "/bin/ls", "is no Python interpreter"),
        (lambda folder: script(folder, "echo hello"), "it said 'hello'"),
        (str, "cannot be run (Permission denied)"),
        (lambda folder: f"{folder}/none", "cannot be run (No such file or directory)"),
        (lambda folder: script(folder, "echo 3 11 2; echo broken >&2; exit 3"), "failed: broken"),
    ],
)
def test_what_is_no_usable_python_is_refused_with_what_it_did(
    tmp_path: Path, spoil: object, said: str
) -> None:
    """A program that ends well without a word is none either."""
    assert callable(spoil)
    python = spoil(tmp_path)
    interpreters.examine.cache_clear()
    found = examine(python)
    assert found.fault.startswith(python) and said in found.fault


def test_a_file_that_may_not_be_executed_is_named(tmp_path: Path) -> None:
    """For root too, which may execute only what some user may."""
    path = tmp_path / "python"
    path.write_text("#!/bin/sh\n")
    path.chmod(0o644)
    assert "cannot be run (Permission denied)" in interpreters.unusable(str(path))
