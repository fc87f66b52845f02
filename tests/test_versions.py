"""The table of tested versions names what the tests install."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from holdfast.tests.peers.environments import ROOT

INSTALL = (ROOT / "tests/peers/install").read_text()
TABLE = (ROOT / "docs/versions.md").read_text()
ALONE = {
    *("openpi-server", "pillow", "inspect-robots", "msgpack-numpy", "jax", "jaxlib"),
    *("transformers", "flax"),
}
"""Packages that only take part in a peer's own tests."""


def listed() -> set[tuple[str, str, str]]:
    """Package, version and Python of each row."""
    rows = re.findall(r"^\| ([\w-]+) \| ([\d.]+) \| (3\.\d+) \|", TABLE, re.MULTILINE)
    return set(rows)


def installed() -> Iterator[tuple[str, str, str]]:
    """The same of each package that tests/peers/install pins."""
    pythons = dict(re.findall(r"\[([\w.-]+)\]=(3\.\d+)", INSTALL))
    for peer, packages in re.findall(r'^  \[([\w.-]+)\]="(.*)"$', INSTALL, re.MULTILINE):
        for name, version in re.findall(r"([\w-]+)(?:\[[\w,-]*\])?==([\d.]+)", packages):
            yield name, version, pythons[peer]
        if not packages:
            yield "Python", pythons[peer], pythons[peer]


def test_each_installed_peer_has_a_row() -> None:
    """The row has its version and its Python."""
    pinned = {each for each in installed() if each[0] not in ALONE}
    assert len(pinned) >= 6
    assert pinned <= listed()


def test_no_row_names_what_is_not_installed() -> None:
    """Beside the peers: torch as constraints.txt has it, and the Python of the suite."""
    torch = re.search(r"^torch==([\d.]+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    assert torch
    ours = {("torch", torch[1], "3.11"), ("Python", "3.11", "3.11")}
    assert listed() - (set(installed()) - ours) == ours


@pytest.mark.parametrize("name", ["lerobot", "openpi", "GR00T", "Gymnasium", "torch"])
def test_what_is_not_supported_is_said_by_name(name: str) -> None:
    """Each name is in the section of that title."""
    assert f"**{name}**" in TABLE.partition("## Not supported")[2]
