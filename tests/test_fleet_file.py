"""docs/fleet-file.md: its keys and their defaults are those of the schema."""

from __future__ import annotations

import re
from typing import Any

from holdfast.tests.fleet_schema import ROOT_NODE, at, children, objects
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
        tables[path] = dict(re.findall(r"^\| `(\w+)` \| (.*?) \| .+ \|$", section, re.MULTILINE))
    return tables


def shown(default: Any) -> str:
    """A default as the page has it."""
    if isinstance(default, bool):
        return str(default).lower()
    if isinstance(default, int | float):
        return str(int(default)) if default == int(default) else str(default)
    return f"`{default}`" if default and isinstance(default, str) else "none"


def known(path: str) -> dict[str, str]:
    """The default of each key at `path`, as the schema has it."""
    found: dict[str, str] = {}
    for node in (each for found_at in at(path) for each in children(found_at)):
        for name, value in node.get("properties", {}).items():
            needed = name in node.get("required", ())
            found[name] = "required" if needed else shown(value.get("default"))
    return found


def test_every_object_of_the_file_has_a_section_of_its_own() -> None:
    """The page has those of the schema, and no others."""
    assert set(listed()) == set(objects(ROOT_NODE, without=ELSEWHERE))


def test_every_key_is_there_with_its_default() -> None:
    """In each section the keys and defaults are those of the schema."""
    for path, keys in listed().items():
        assert keys == known(path), path
