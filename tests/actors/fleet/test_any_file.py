"""Whatever becomes of the shipped fleet.yaml: refused in sentences with places, or accepted."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import holdfast
from holdfast.actors.fleet import surroundings, yaml_document
from holdfast.actors.fleet.expand import expand
from holdfast.actors.fleet.loading import loads, placed
from holdfast.actors.fleet.surroundings import devices_missing, faults_here
from holdfast.errors import FleetError

SHIPPED = (Path(holdfast.__file__).parent / "fleet.yaml").read_text(encoding="utf-8")
VALUES = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(10**20), 10**20),
        st.floats(),
        st.dates(),
        st.text(max_size=12),
        st.sampled_from(
            [
                "r1",
                "pick",
                "sim",
                "opencv",
                "flow",
                "on",
                "1e9",
                "08",
                "cpu",
                "cuda",
                "hold",
                "zero",
            ]
        ),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.one_of(
                st.text(max_size=8),
                st.sampled_from(
                    ["host", "seed", "source", "loop", "view", "graphs", "name", "fps"]
                ),
                st.booleans(),
                st.integers(0, 3),
            ),
            inner,
            max_size=3,
        ),
    ),
    max_leaves=6,
)
LINES = SHIPPED.splitlines()
WORDS = [
    *("on", "1e9", "08", "010", "1:30", "~", "{}", "[]", "- 1", "*a", "&a {b: *a}", "!!int x"),
    *("2001-99-99", "\t", "'", "{", ".inf", "<<: *x", "? [a]", "!!binary x", "\x00", "é"),
]


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Where something stands in a plain value."""
    found = [path] if path else []
    if isinstance(value, dict):
        for key, entry in value.items():
            found += places(entry, (*path, key))
    elif isinstance(value, list):
        for i, entry in enumerate(value):
            found += places(entry, (*path, i))
    return found


PLACES = places(yaml.safe_load(SHIPPED))


@st.composite
def changed(draw: st.DrawFn) -> str:
    """The shipped file with a few values replaced, removed or added."""
    fleet = copy.deepcopy(yaml.safe_load(SHIPPED))
    for _ in range(draw(st.integers(1, 3))):
        *way, last = draw(st.sampled_from(PLACES))
        owner = fleet
        try:
            for key in way:
                owner = owner[key]
            match draw(st.sampled_from(["replace", "remove", "add"])):
                case "replace":
                    owner[last] = draw(VALUES)
                case "remove":
                    del owner[last]
                case _:
                    owner[draw(st.text(max_size=8))] = draw(VALUES)
        except (KeyError, IndexError, TypeError):
            continue  # an earlier change took it away
    return yaml.safe_dump(fleet, allow_unicode=True)


@st.composite
def named(draw: st.DrawFn) -> str:
    """The shipped file with other files and devices in it."""
    long = ["a" * 300, "a/" * 3000]
    names = st.sampled_from(
        [*long, "\0", "/dev/video9", "/dev/\0", "/dev/null", "rtsp://a", ".", 0]
    )
    fleet = yaml.safe_load(SHIPPED)
    options = {"source": draw(names)}
    fleet["robots"][0]["cameras"]["wrist"] |= {"driver": "opencv", "options": options}
    if draw(st.booleans()):
        fleet["services"]["pick"]["checkpoint"] = draw(names)
    if draw(st.booleans()):
        fleet["security"] = {"keys": draw(names)}
    return yaml.safe_dump(fleet)


@st.composite
def mistyped(draw: st.DrawFn) -> str:
    """The shipped file with a few lines doubled, lost, indented otherwise, or of other words."""
    lines = list(LINES)
    for _ in range(draw(st.integers(1, 3))):
        i = draw(st.integers(0, len(lines) - 1))
        match draw(st.sampled_from(["double", "lose", "indent", "word", "tail"])):
            case "double":
                lines.insert(i, lines[i])
            case "lose":
                lines[i] = ""
            case "indent":
                lines[i] = draw(st.sampled_from([" ", "  ", "\t"])) + lines[i]
            case "word":
                head, colon, _ = lines[i].partition(":")
                lines[i] = f"{head}{colon} {draw(st.sampled_from(WORDS))}"
            case _:
                lines[i] = lines[i][: draw(st.integers(0, len(lines[i])))]
    return "\n".join(lines)


@pytest.mark.parametrize(
    "texts", [changed(), mistyped(), named()], ids=["changed", "mistyped", "named"]
)
def test_any_file_is_accepted_or_refused_with_places_in_it(
    texts: st.SearchStrategy[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """No other exception; a fault stands in the file or is a key missing there, with its line."""
    monkeypatch.setattr(surroundings, "_torch", lambda: "torch is not asked by this test")

    @settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
    @given(texts)
    def holds(text: str) -> None:
        try:
            fleet = loads(text)
            for host in {fleet.broker.host, *(robot.host for robot in fleet.robots)}:
                found = [*faults_here(fleet, host), *devices_missing(fleet, host)]
                if found:
                    raise FleetError("fleet.yaml", placed(text, found))
                expand(fleet, host, Path("/run"))
        except FleetError as error:
            parsed = yaml_document.parse(text)
            assert error.faults
            for fault in error.faults:
                assert fault.message
                nearest = parsed.nearest(fault.path)
                # All but the last part, which may be missing, or an optional section of settings.
                assert nearest != "$" or "." not in fault.path.removeprefix("$.")
                if parsed.value is not None:
                    assert fault.line > 0, fault

    holds()
