"""docs/your-robot.md, followed literally in an empty folder.

Its blocks are taken in their order: one with a file's name after its language is written to that
file; a `console` block is typed, line by line behind `$`, and what stands below a line has to be in
what it prints, where `...` is any text. A line ends with its exit status if that is not 0. Commands
that only look are repeated until they show it. A `yaml` block without a name is part of a robot's
entry in fleet.yaml.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest
import yaml

from holdfast.actors.fleet.robot_entry import RobotEntry

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "your-robot.md"
BIN = Path(sys.executable).parent
LOOKS = ("actorctl status",)
PATIENCE_S = 240.0


class Block(NamedTuple):
    """One of the page: its language, the file that it is, or "", and its text."""

    language: str
    file: str
    text: str


class Typed(NamedTuple):
    """A line to type, and what is expected of it."""

    line: str
    status: int
    shown: tuple[str, ...]


def blocks() -> list[Block]:
    found = re.findall(r"^```(\w+) ?(\S*)\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    return [Block(*each) for each in found]


def typed(text: str) -> Iterator[Typed]:
    """The lines of a `console` block."""
    for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
        first, *shown = part.rstrip("\n").split("\n")
        line, _, status = first.partition("  # exit status ")
        yield Typed(line, int(status or 0), tuple(shown))


def shows(output: str, expected: tuple[str, ...]) -> bool:
    """Whether the lines are there, in their order; runs of blanks count as one."""
    plain = " ".join(output.split())
    parts = [" ".join(part.split()) for line in expected for part in line.split("...")]
    return re.search(".*?".join(map(re.escape, parts)), plain, re.DOTALL) is not None


def follow(step: Typed, folder: Path, environment: dict[str, str]) -> None:
    """Type one line. AssertionError with what came instead."""

    def type_it() -> tuple[bool, str]:
        done = subprocess.run(
            ["/bin/bash", "-c", step.line],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
        output = done.stdout + done.stderr
        expected = done.returncode == step.status and shows(output, step.shown)
        return expected, f"{step}\nexit status {done.returncode}\n{output}"

    deadline_s = time.monotonic() + (PATIENCE_S if step.line.startswith(LOOKS) else 0.0)
    while not (came := type_it())[0]:
        assert time.monotonic() < deadline_s, came[1]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_page_is_followed_literally(tmp_path: Path) -> None:
    """Every file is written, every command typed: each exits and shows as the page says."""
    environment = {
        **os.environ,
        "PATH": f"{BIN}:{os.environ['PATH']}",
        "COLUMNS": "200",
        "HOLDFAST_RUNTIME": str(tmp_path / "r"),
        "HOLDFAST_STATE": str(tmp_path / "s"),
    }
    folder = tmp_path / "cell"
    folder.mkdir()
    try:
        for block in blocks():
            if block.file:
                (folder / block.file).write_text(block.text)
            elif block.language == "console":
                for step in typed(block.text):
                    follow(step, folder, environment)
    finally:
        subprocess.run([BIN / "supervisor", "stop"], env=environment, check=False, timeout=240)


def test_every_part_of_an_entry_on_the_page_is_accepted() -> None:
    """The keys, and the types of their values, are those of a robot in fleet.yaml."""
    parts = [block for block in blocks() if block.language == "yaml" and not block.file]
    assert len(parts) >= 4
    for block in parts:
        entry = {"name": "arm", "service": "any", **yaml.safe_load(block.text)}
        msgspec.convert(entry, RobotEntry)


def test_every_block_of_the_page_is_of_a_kind_that_is_tested() -> None:
    """None is left out because it is written in another way."""
    text = PAGE.read_text()
    assert text.count("\n```") == 2 * len(blocks())
    assert all(b.language == "console" or b.file or b.language == "yaml" for b in blocks())


@pytest.mark.parametrize(
    ("output", "expected", "there"),
    [
        ("a  b\nc", ("a b", "c"), True),
        ("a  b\nc", ("c", "a b"), False),
        ("arm READY 1 x killed", ("arm ... killed",), True),
        ("arm READY", ("arm ... READY ...",), True),
        ("arm READY", ("arm ... killed",), False),
        ("", (), True),
    ],
)
def test_what_a_command_shows_is_compared_in_order(
    output: str, expected: tuple[str, ...], there: bool
) -> None:
    """`...` is any text, blanks do not count."""
    assert shows(output, expected) is there
