"""docs/scripts.md: its files run, its arguments and errors are those of the package."""

from __future__ import annotations

import builtins
import inspect
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import holdfast
from holdfast.tests.fleet_schema import default_shown
from holdfast.tests.free_ports import free_port
from holdfast.tests.peers.environments import ROOT

PAGE = (ROOT / "docs" / "scripts.md").read_text()
BLOCKS = re.findall(r"^```(\w+) ?(\S*)\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
FILES = {name: text for _, name, text in BLOCKS if name}
BIN = Path(sys.executable).parent
PATIENCE_S = 240


def done(folder: Path, *command: str | Path) -> str:
    """What a command prints that succeeds."""
    ran = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


@contextmanager
def fleet(folder: Path, file: str, *options: str) -> Iterator[None]:
    """A fleet of that file, until the block ends."""
    done(folder, BIN / "supervisor", "start", file, "--detach", *options)
    try:
        yield
    finally:
        done(folder, BIN / "supervisor", "stop")


@contextmanager
def serving(folder: Path, script: str) -> Iterator[None]:
    """A script that serves, until Ctrl-C ends it in order."""
    process = subprocess.Popen([sys.executable, script], cwd=folder)
    try:
        yield
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE_S) == 0
    finally:
        process.kill()
        process.wait()


def test_every_block_of_the_page_is_run() -> None:
    """Each is a file that a test below starts, or the commands that make the keys."""
    assert PAGE.count("\n```") == 2 * len(BLOCKS)
    assert [language for language, name, _ in BLOCKS if not name] == ["console"]
    mine = inspect.getsource(sys.modules[__name__])
    assert all(f'"{name}"' in mine for name in FILES)


@pytest.mark.timeout(600)
def test_the_scripts_of_one_machine_run(tmp_path: Path) -> None:
    """A fleet in a script; then one beside scripts that serve and play."""
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    said = done(tmp_path, sys.executable, "fleet.py")
    assert said.splitlines()[:2] == ["r1 STREAMING", "(72, 96, 3)"]
    assert "r7" in said
    with fleet(tmp_path, "fleet.yaml"), serving(tmp_path, "serving.py"):
        assert "STREAMING 0 refused" in done(tmp_path, sys.executable, "arm.py")
    assert (tmp_path / "records/audit/head.network.jsonl").stat().st_size > 0


@pytest.mark.timeout(600)
def test_the_scripts_of_several_machines_run(tmp_path: Path) -> None:
    """Of two brokers, with the keys that the page makes, one is not there."""
    here = {"10.0.0.2": "127.0.0.1", "10.0.0.3": "127.0.0.2"}
    here |= {port: str(free_port()) for port in ("7447", "7448")}
    for name, text in FILES.items():
        (tmp_path / name).write_text(re.sub("|".join(here), lambda found: here[found[0]], text))
    (commands,) = (text for _, name, text in BLOCKS if not name)
    for line in commands.replace("actorctl", f"{BIN}/actorctl").splitlines():
        done(tmp_path, "/bin/bash", "-c", line.removeprefix("$ "))
    with fleet(tmp_path, "site.yaml", "--host", "hub1"), serving(tmp_path, "far_serving.py"):
        assert "accepted" in done(tmp_path, sys.executable, "far_arm.py")


@pytest.mark.parametrize("of", [holdfast.serve, holdfast.RemotePolicy], ids=["serve", "remote"])
def test_the_arguments_are_those_of_the_function(of: type) -> None:
    """With their defaults."""
    section = PAGE.partition(f"## `{of.__name__}`")[2].partition("\n## ")[0]
    listed = {
        name: default
        for names, default in re.findall(r"^\| (`.*?`) \| (.*?) \| .+ \|$", section, re.MULTILINE)
        for name in re.findall(r"`(\w+)`", names)
    }
    taken = inspect.signature(of).parameters.values()
    known = {
        each.name: "required" if each.default is each.empty else default_shown(each.default)
        for each in taken
    }
    known |= {"spec": "required"} if "spec" in known else {}  # of a function
    assert listed == known


def test_the_errors_are_those_of_the_package() -> None:
    """Exported, or Python's own."""
    named = set(re.findall(r"`(\w+Error)`", PAGE))
    assert len(named) > 8
    assert {each for each in named if not hasattr(holdfast, each)} <= set(dir(builtins))


def test_every_name_that_the_package_offers_is_in_the_table_of_names() -> None:
    """All but the errors, which are in a module that the page links."""
    table = PAGE.partition("## All names")[2]
    rows = re.findall(r"^\| (`.*?`) \| .+ \|$", table, re.MULTILINE)
    assert sorted(re.findall(r"`(\w+)`", "".join(rows))) == sorted(
        name for name in holdfast.__all__ if not name.endswith("Error")
    )
