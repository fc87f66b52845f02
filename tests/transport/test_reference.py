"""reference.md describes the code: checked row by row, so that neither changes alone."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec import inspect

import holdfast.transport
from holdfast.tests.source import Source
from holdfast.transport.bodies import BODIES, ActorVitals, Demand, Vitals
from holdfast.transport.header import MAGIC, Kind
from holdfast.transport.key_bodies import PeerKey
from holdfast.transport.limits import DEFAULT

PACKAGE = Path(holdfast.transport.__path__[0])
TEXT = (PACKAGE / "reference.md").read_text()


def written(kind: inspect.Type) -> str:
    """A field's type in reference.md's words."""
    match kind:
        case inspect.IntType():
            return "int"
        case inspect.FloatType():
            return "float"
        case inspect.BoolType():
            return "bool"
        case inspect.StrType(max_length=length):
            return {DEFAULT.max_name_chars: "name", DEFAULT.max_text_chars: "text"}[length or 0]
        case inspect.LiteralType(values=values):
            modes = {"velocity": "mode", "guided": "prefix mode", "linear": "schedule"}
            return next(name for value, name in modes.items() if value in values)
        case inspect.StructType(cls=cls):
            return cls.__name__.lower()
        case inspect.UnionType(types=types):
            return " or ".join(
                "nil" if isinstance(t, inspect.NoneType) else written(t) for t in types
            )
        case inspect.VarTupleType(item_type=item):
            return f"[{written(item)}]"
        case inspect.TupleType(item_types=items):
            return f"[{', '.join(map(written, items))}]"
        case inspect.DictType(key_type=key, value_type=value):
            text = f"{{{written(key)}: {written(value)}}}"
            return "cameras" if text == "{name: [int, int]}" else text
        case _:
            raise NotImplementedError(kind)


def default(field: inspect.Field) -> str:
    if field.required:
        return ""
    value: Any = field.default
    if field.default_factory is not msgspec.NODEFAULT:
        value = field.default_factory()
    return f"`{'nil' if value is None else json.dumps(value)}`"


@pytest.mark.parametrize("kind", Kind, ids=lambda kind: kind.name)
def test_the_reference_describes_every_key_of_a_body(kind: Kind) -> None:
    """Names, types and defaults of the table are those of the struct."""
    assert rows(f"#### {kind.name}") == described(BODIES[kind])


def test_the_reference_describes_every_key_of_the_vitals() -> None:
    """Names, types and defaults of the table are those of the struct."""
    assert rows("### Vitals") == described(Vitals)


def test_the_reference_describes_every_key_of_an_actors_vitals() -> None:
    """Names, types and defaults of the table are those of the struct."""
    assert rows("### Actors") == described(ActorVitals)


def test_the_reference_describes_every_key_of_a_demand() -> None:
    """Names, types and defaults of the table are those of the struct."""
    assert rows("### Demand") == described(Demand)


def test_the_reference_describes_every_key_of_a_peers_key() -> None:
    """Names, types and defaults of the table are those of the struct."""
    assert rows("### Peer keys") == described(PeerKey)


def rows(heading: str) -> list[tuple[str, str, str]]:
    """Name, type and default in each row of a section's table."""
    section = TEXT.split(f"\n{heading}\n")[1].split("\n#")[0]
    return re.findall(r"^\| `(\w+)` \| (.*?) \| (.*?) ?\|", section, re.MULTILINE)


def described(body: type) -> list[tuple[str, str, str]]:
    info = inspect.type_info(body)
    assert isinstance(info, inspect.StructType)
    return [(f.name, written(f.type), default(f)) for f in info.fields]


def test_the_reference_numbers_every_kind() -> None:
    """Its table has every kind with its value, and no other."""
    rows = re.findall(r"^\| ([A-Z]+) \| (\d+) \|", TEXT, re.MULTILINE)
    assert rows == [(kind.name, str(int(kind))) for kind in Kind]
    assert f"`{MAGIC.decode()}`" in TEXT


def test_the_reference_numbers_every_limit() -> None:
    """Its table has every limit with its value, and no other."""
    rows = re.findall(r"\(`(max_\w+)`\) \| (\d+) \|", TEXT)
    assert rows == [(name, str(value)) for name, value in dataclasses.asdict(DEFAULT).items()]


def test_the_reference_names_every_reason() -> None:
    """Each WireError that the package raises has its reason in the text."""
    sources = [Source(path) for path in PACKAGE.glob("*.py")]
    raised = {
        word
        for source in sources
        for call in source.calls("WireError")
        for word in source.words(call.args[0])
    }
    described = set(re.findall(r"`([a-z-]+)`", TEXT.split("Reasons that a message is refused")[1]))
    assert raised == described
