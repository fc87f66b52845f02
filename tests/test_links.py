"""The links of README and docs lead to files and headings that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from holdfast.tests.peers.environments import ROOT

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def anchors(page: Path) -> set[str]:
    """Those that a host of repositories makes of the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    """Its file exists, and has the heading that it names."""
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if re.match(r"\w+:", target):
            continue
        name, _, heading = target.partition("#")
        place = page.parent / name if name else page
        if not place.exists() or (heading and heading not in anchors(place)):
            broken.append(target)
    assert broken == []
