"""docs/fleet-file.md: its keys and their defaults are those of the schema."""

from __future__ import annotations

import re

from holdfast.tests.fleet_schema import ROOT_NODE, at, children, default_shown, objects
from holdfast.tests.peers.environments import ROOT

PAGE = (ROOT / "docs" / "fleet-file.md").read_text()
ELSEWHERE = ("options", "mapping")
"""Keys whose own keys depend on the kind beside them, and stand on the page of that kind."""


def listed() -> dict[str, dict[str, str]]:
    """The default of each key of the page, by the path in the heading above it."""
    tables = {}
    for section in re.split(r"^## ", PAGE, flags=re.MULTILINE)[1:]:
        heading = section.partition("\n")[0]
        path = "" if heading == "The file" else heading.strip("`")
        rows = re.findall(r"^\| `(\w+)` \| (.*?) \| .+ \|$", section, re.MULTILINE)
        tables[path] = dict(rows)
        assert len(tables[path]) == len(rows), f"{heading} has a key twice"
    return tables


def known(path: str) -> dict[str, str]:
    """The default of each key at `path`, as the schema has it."""
    found: dict[str, str] = {}
    for node in (each for found_at in at(path) for each in children(found_at)):
        for name, value in node.get("properties", {}).items():
            needed = name in node.get("required", ())
            found[name] = "required" if needed else default_shown(value.get("default"))
    return found


def test_every_object_of_the_file_has_a_section_of_its_own() -> None:
    """The page has those of the schema, and no others."""
    assert set(listed()) == set(objects(ROOT_NODE, without=ELSEWHERE))


def test_every_key_is_there_with_its_default() -> None:
    """In each section the keys and defaults are those of the schema."""
    for path, keys in listed().items():
        assert keys == known(path), path


def test_every_path_of_a_key_on_a_page_is_a_place_in_the_file() -> None:
    """As `safety.io_timeout_s` of a robot: what is no place is a key that is refused."""
    firsts = {path.removeprefix("robots[].").partition(".")[0] for path in listed()}
    parts = "|".join(filter(str.isalpha, firsts - {"broker"}))  # whose files are broker.key, .pub
    places = re.compile(rf"`((?:{parts})\.\w+(?:\.\w+)*)`")
    # The names of LeRobot's options are on coming-from.md, which has a test of its own.
    pages = [each for each in (ROOT / "docs").glob("*.md") if each.name != "coming-from.md"]
    texts = [page.read_text() for page in (ROOT / "README.md", *pages)]
    named = {name for text in texts for name in places.findall(text)}
    assert "safety.io_timeout_s" in named
    assert {name for name in named if not at(name) and not at(f"robots[].{name}")} == set()


def test_every_meaning_begins_with_what_the_key_is() -> None:
    """Not in the middle of a sentence whose beginning is elsewhere."""
    meanings = re.findall(r"^\| `\w+` \| .*? \| \[?(\w+)", PAGE, re.MULTILINE)
    assert len(meanings) > 150
    inside = {"at", "between", "by", "for", "in", "of", "or", "to", "until", "with", "within"}
    assert set(meanings) & inside == set()


def test_the_editors_line_stands_beside_the_command_that_makes_its_file() -> None:
    """On the page, and in the file that `supervisor init` writes."""
    for text in (PAGE, (ROOT / "fleet.yaml").read_text()):
        assert "supervisor schema > fleet.schema.json" in text
        assert "# yaml-language-server: $schema=fleet.schema.json" in text
