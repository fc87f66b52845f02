"""The links of README and docs lead to files and headings that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from holdfast.tests.peers.environments import ROOT

FOLDERS = ("docs", "transport", "actors")
PAGES = [ROOT / "README.md", *(page for f in FOLDERS for page in sorted((ROOT / f).rglob("*.md")))]


def prose(page: Path) -> str:
    """Its text without the fenced code, whose comments are no headings."""
    return re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)


def anchors(page: Path) -> set[str]:
    """Those that a host of repositories makes of the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    """Its file exists, and has the heading that it names."""
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if re.match(r"\w+:", target):
            continue
        name, _, heading = target.partition("#")
        place = page.parent / name if name else page
        if not place.exists() or (heading and heading not in anchors(place)):
            broken.append(target)
    assert broken == []


def test_a_comment_in_a_block_of_code_is_no_heading(tmp_path: Path) -> None:
    """Only what a reader can jump to is one."""
    page = tmp_path / "page.md"
    page.write_text("# One heading\n\n```\n# a comment\n```\n\n## Another one\n")
    assert anchors(page) == {"one-heading", "another-one"}
