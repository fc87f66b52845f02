"""A YAML document against typed structs: everything that differs, each with path and line.

msgspec alone stops at the first error and knows no lines. This walks the document itself. It knows
nothing about fleets: what the words mean is for `checks.py`.
"""

from __future__ import annotations

import datetime as dt
import math
import re
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import msgspec
from msgspec.structs import FieldInfo, fields

from ...errors import Fault
from ..runtime.suggestions import closest, similar
from .yaml_document import Document


def mismatches(document: Document, expected: Any) -> tuple[list[Fault], Any]:
    """Where the document differs from the type `expected`, and its value without those parts.

    The second is for looking for further faults in what remains; it may still not convert, when a
    required part is among what was wrong.
    """
    faults: list[Fault] = []
    kept = _fit(document, document.value, expected, "$", "", faults)
    return faults, kept


def mismatches_within(path: str, value: Any, expected: Any) -> list[Fault]:
    """The same for a part of a document at `path`, which the schema types as any mapping."""
    faults: list[Fault] = []
    _fit(Document(value), value, expected, path, "", faults)
    return faults


_WRONG = object()


def _fit(
    document: Document, value: Any, expected: Any, path: str, hint: str, faults: list[Fault]
) -> Any:
    """`value` without what does not fit `expected`, or _WRONG if nothing of it does."""
    plain, hint = _plain(expected, hint)
    if isinstance(value, dict | str) and (kinds := _tagged(plain)):
        if isinstance(value, str):
            return _fit_text(document, value, _texts(plain), kinds, path, faults)
        return _fit_tagged(document, value, kinds, path, faults)
    if isinstance(value, dict):
        # Of a mapping or text, a mapping can only be the one.
        structs = [each for each in get_args(plain) if isinstance(each, type(msgspec.Struct))]
        plain = structs[0] if len(structs) == 1 and get_origin(plain) is UnionType else plain
    if isinstance(plain, type) and issubclass(plain, msgspec.Struct):
        if isinstance(value, dict):
            return _fit_struct(document, value, plain, path, faults)
    elif get_origin(plain) is dict and isinstance(value, dict):
        return _fit_dict(document, value, get_args(plain)[1], path, hint, faults)
    elif get_origin(plain) in (list, tuple) and isinstance(value, list):
        item = get_args(plain)[0]
        fitted = [
            _fit(document, entry, item, f"{path}[{i}]", hint, faults)
            for i, entry in enumerate(value)
        ]
        return [entry for entry in fitted if entry is not _WRONG]
    elif get_origin(plain) is Literal and isinstance(value, str):
        return _fit_text(document, value, list(get_args(plain)), {}, path, faults)
    problem = _converts(value, expected)
    if problem is None:
        return value
    faults.append(document.placed(_mismatch(path, value, problem, hint)))
    return _WRONG


def _fit_struct(
    document: Document,
    value: dict[Any, Any],
    struct: type[msgspec.Struct],
    path: str,
    faults: list[Fault],
) -> Any:
    known: dict[str, FieldInfo] = {field.encode_name: field for field in fields(struct)}
    types = get_type_hints(struct, include_extras=True)
    kept: dict[str, Any] = {}
    meant: dict[str, Any] = {}
    before = len(faults)
    tag = struct.__struct_config__.tag_field
    for key, entry in value.items():
        if key == tag:
            kept[key] = entry
            continue
        if key not in known and not struct.__struct_config__.forbid_unknown_fields:
            kept[key] = entry
            continue
        if key not in known:
            name = document.key(path, key)
            fault = Fault(f"{path}.{name}", f"unknown key {name!r}", remedy=closest(name, known))
            faults.append(document.placed(fault))
            near = similar(name, known)
            if near is not None and near not in value and near not in meant:
                # It is checked as what is meant, so that nothing is said to be absent.
                meant[near] = entry
            continue
        fitted = _fit(document, entry, types[known[key].name], f"{path}.{key}", "", faults)
        if fitted is not _WRONG:
            kept[key] = fitted
    for name, entry in meant.items():
        found: list[Fault] = []
        fitted = _fit(document, entry, types[known[name].name], f"{path}.{name}", "", found)
        if fitted is not _WRONG:
            kept[name] = fitted
            faults += found
    given = value.keys() | meant.keys()
    missing = [name for name, field in known.items() if field.required and name not in given]
    for name in missing:
        _, hint = _plain(types[known[name].name], "")
        remedy = f"add `{name}:`" + (f" ({hint})" if hint else "")
        faults.append(document.placed(Fault(f"{path}.{name}", "missing", remedy=remedy)))
    if len(faults) > before and any(f.required and n not in kept for n, f in known.items()):
        return _WRONG
    return kept


def _tagged(expected: Any) -> dict[str, type[msgspec.Struct]]:
    """The structs of a union that a tag tells apart, by their tags; empty for another type."""
    if get_origin(expected) not in (Union, UnionType):
        return {}
    some = [_plain(arg, "")[0] for arg in get_args(expected)]
    return {
        str(kind.__struct_config__.tag): kind
        for kind in some
        if isinstance(kind, type)
        and issubclass(kind, msgspec.Struct)
        and kind.__struct_config__.tag is not None
    }


def _fit_tagged(
    document: Document,
    value: dict[Any, Any],
    kinds: dict[str, type[msgspec.Struct]],
    path: str,
    faults: list[Fault],
) -> Any:
    tag = next(iter(kinds.values())).__struct_config__.tag_field
    assert tag is not None, "they have tags"
    if tag not in value:
        remedy = f"add `{tag}:`, one of {', '.join(kinds)}"
        faults.append(document.placed(Fault(f"{path}.{tag}", "missing", remedy=remedy)))
        return _WRONG
    kind = kinds.get(value[tag]) if isinstance(value[tag], str) else None
    if kind is None:
        remedy = closest(str(value[tag]), kinds)
        found = f"found {value[tag]!r}"
        faults.append(document.placed(Fault(f"{path}.{tag}", found, remedy=remedy)))
        return _WRONG
    return _fit_struct(document, value, kind, path, faults)


def _fit_text(
    document: Document,
    value: str,
    texts: list[Any],
    kinds: dict[str, type[msgspec.Struct]],
    path: str,
    faults: list[Fault],
) -> Any:
    """A text where one of `texts`, or a mapping that a tag tells apart, is expected."""
    if value in texts:
        return value
    if value in kinds:
        kind = kinds[value]
        required = [f"{field.encode_name}: ..." for field in fields(kind) if field.required]
        parts = ", ".join([f"{kind.__struct_config__.tag_field}: {value}", *required])
        fault = Fault(path, f"found the text {value!r}", remedy=f"write `{{{parts}}}`")
    else:
        fault = Fault(
            path,
            f"found {value!r}",
            remedy=closest(value, dict.fromkeys([*map(str, texts), *kinds])),
        )
    faults.append(document.placed(fault))
    return _WRONG


def _texts(expected: Any) -> list[str]:
    """The texts that a union has beside other types."""
    some = [_plain(arg, "")[0] for arg in get_args(expected)]
    return [text for each in some if get_origin(each) is Literal for text in get_args(each)]


def _fit_dict(
    document: Document,
    value: dict[Any, Any],
    item: Any,
    path: str,
    hint: str,
    faults: list[Fault],
) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    for key, entry in value.items():
        if not isinstance(key, str):
            name = document.key(path, key)
            found = f"the key {name} is read as {_kind(key)}"
            remedy = "write it in quotes to make a name"
            faults.append(document.placed(Fault(f"{path}.{name}", found, remedy=remedy)))
            continue
        fitted = _fit(document, entry, item, f"{path}.{key}", hint, faults)
        if fitted is not _WRONG:
            kept[key] = fitted
    return kept


def _plain(expected: Any, hint: str) -> tuple[Any, str]:
    """`expected` without its annotation and its `| None`, and what it is, in words."""
    if get_origin(expected) is Annotated:
        base, *metas = get_args(expected)
        described = [m.description for m in metas if isinstance(m, msgspec.Meta)]
        return _plain(base, next((d for d in described if d), hint))
    if get_origin(expected) in (Union, UnionType):
        some = [arg for arg in get_args(expected) if arg is not NoneType]
        if len(some) == 1:
            return _plain(some[0], hint)
    return expected, hint


def _converts(value: Any, expected: Any) -> str | None:
    """None if `value` is an `expected`, else msgspec's sentence about it."""
    if isinstance(value, float) and not math.isfinite(value):
        return "Expected a finite number"
    try:
        msgspec.convert(value, expected)
    except msgspec.ValidationError as error:
        return str(error).partition(" - at")[0]
    return None


def _mismatch(path: str, value: Any, problem: str, hint: str) -> Fault:
    """The fault that `value` is none of what is expected, `problem` being msgspec's sentence."""
    found = f"found {_shown(value)}"
    problem = problem.partition(", got")[0]
    if hint and "regex" in problem:
        return Fault(path, found, hint)
    problem = re.sub(r"`([a-z |]+)`", _in_words, problem)
    if not problem.startswith("Expected "):
        return Fault(path, f"{found}: {problem[:1].lower()}{problem[1:]}", hint)
    expected = problem.removeprefix("Expected ") + (f": {hint}" if hint else "")
    return Fault(path, found, expected)


_WORDS = {
    "str": "text",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "null": "nothing",
    "array": "a list",
    "object": "a mapping",
}


def _in_words(types: re.Match[str]) -> str:
    """msgspec's names of types, as a person calls them."""
    return " or ".join(_WORDS.get(name, name) for name in types[1].split(" | "))


def _shown(value: Any) -> str:
    """A value as it would be written in the file."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | dict):
        return f"a {'list' if isinstance(value, list) else 'mapping'}"
    return str(value) if isinstance(value, dt.date) else repr(value)


def _kind(value: Any) -> str:
    kinds = {bool: "yes or no", int: "a number", float: "a number", NoneType: "nothing"}
    return kinds.get(type(value), type(value).__name__)
