"""YAML with the line of every place."""

from __future__ import annotations

from textwrap import dedent

from holdfast.actors.fleet.yaml_document import parse
from holdfast.errors import Fault

MERGED = dedent("""\
    base: &base
      fps: 10
      options: &options {id: a, seed: 1}
    one:
      <<: *base
      options: {<<: *options, seed: 2}
    two:
      fps: 30
      <<: *base
    """)


def test_merged_mappings_have_the_values_of_both_and_their_lines() -> None:
    """`<<` takes the entries of its mapping, wherever it stands; the own keys override."""
    document = parse(MERGED)
    assert not document.faults
    assert document.value["one"] == {"fps": 10, "options": {"id": "a", "seed": 2}}
    assert document.value["two"] == {"fps": 30, "options": {"id": "a", "seed": 1}}
    lines = {
        path: document.placed(Fault(path, "x")).line
        for path in ("$.one.fps", "$.one.options.seed", "$.one.options.id", "$.two.fps")
    }
    assert lines == {
        "$.one.fps": 2,
        "$.one.options.seed": 6,
        "$.one.options.id": 3,
        "$.two.fps": 8,
    }


def test_a_key_given_twice_is_a_fault_in_a_merged_file_too() -> None:
    """An overridden entry is no duplicate, a repeated key is one, with both lines."""
    document = parse(MERGED + "three:\n  <<: *base\n  fps: 1\n  fps: 2\n")
    assert [(fault.path, fault.line) for fault in document.faults] == [("$.three.fps", 13)]
    assert "first in line 12" in document.faults[0].message


def test_a_merged_list_is_refused() -> None:
    """Which mapping of a list overrides which is not left to the version of a library."""
    document = parse("a: &a {x: 1}\nb:\n  <<: [*a, {x: 2}]\n")
    assert [(fault.path, fault.line) for fault in document.faults] == [("$.b.<<", 3)]


def test_a_mapping_that_merges_itself_is_refused() -> None:
    """An endless merge is a fault of the file, not of the program."""
    document = parse("a: &a\n  <<: *a\n  b: 1\n")
    assert document.faults
    assert document.value is None
