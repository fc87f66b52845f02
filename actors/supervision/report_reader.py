"""Reads what is on an actor's board. Pure.

A board belongs to its actor and may hold any MessagePack value. `read` keeps the fields that fit
the shape of the actor's kind and replaces each other one by its default. Fields that no shape names
pass through as plain JSON values.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any, NamedTuple, get_args, get_origin

import msgspec
from msgspec import Struct

from .actor_reports import SHAPES

MAX_MISFITS = 8
"""How many names of wrong fields are reported."""


def read(kind: str, reported: object) -> tuple[dict[str, Any] | None, list[str]]:
    """(report, misfits): what an actor of `kind` has `reported`, every field of its shape filled,
    and the names of the fields that were replaced (at most MAX_MISFITS). None, of an actor that
    has not reported yet, stays None. Raises nothing."""
    if reported is None:
        return None, []
    misfits: list[str] = []
    try:
        plain = msgspec.to_builtins(reported, str_keys=True)
    except (TypeError, ValueError, RecursionError):
        plain = None
    if not isinstance(plain, dict):
        plain, misfits = {}, ["the whole report"]
    shape = SHAPES.get(kind)
    if shape is not None:
        plain = _filled(plain, shape, misfits, "")
    return plain, misfits[:MAX_MISFITS]


def unreported(kind: str) -> dict[str, Any]:
    """The default report of an actor of `kind`."""
    return read(kind, {})[0] or {}


class _Field(NamedTuple):
    name: str
    type: Any
    shape: type[Struct] | None
    """The struct in the field, or in each item of its list."""
    many: bool
    required: bool
    default: Any


@cache
def _fields(shape: type[Struct]) -> list[_Field]:
    fields = []
    for each in msgspec.structs.fields(shape):
        many = get_origin(each.type) is list
        inner = [one for one in (each.type, *get_args(each.type)) if _is_struct(one)]
        default = each.default
        if each.default_factory is not msgspec.NODEFAULT:
            default = each.default_factory()
        fields.append(
            _Field(each.name, each.type, inner[0] if inner else None, many, each.required, default)
        )
    return fields


def _is_struct(kind: object) -> bool:
    return isinstance(kind, type) and issubclass(kind, Struct)


def _filled(
    reported: Mapping[str, Any], shape: type[Struct], misfits: list[str], where: str
) -> dict[str, Any]:
    """`reported` with every field of `shape`. Raises ValidationError where a required one is
    missing or does not fit."""
    row = dict(reported)
    for each in _fields(shape):
        value = reported.get(each.name, msgspec.UNSET)
        try:
            row[each.name] = _fitted(value, each, misfits, where + each.name)
        except msgspec.ValidationError:
            if each.required:
                raise
            misfits.append(where + each.name)
            row[each.name] = _default(each)
    return row


def _fitted(value: Any, each: _Field, misfits: list[str], where: str) -> Any:
    if value is msgspec.UNSET:
        if each.required:
            raise msgspec.ValidationError
        return _default(each)
    if each.shape is not None and each.many and isinstance(value, list):
        return _rows(value, each.shape, misfits, where)
    if each.shape is not None and isinstance(value, dict):
        return _filled(value, each.shape, misfits, f"{where}.")
    if each.shape is not None and value is None:
        return _default(each)
    msgspec.convert(value, each.type)
    return value


def _rows(
    reported: list[Any], shape: type[Struct], misfits: list[str], where: str
) -> list[dict[str, Any]]:
    rows = []
    for k, item in enumerate(reported):
        try:
            rows.append(_filled(msgspec.convert(item, dict), shape, misfits, f"{where}[{k}]."))
        except msgspec.ValidationError:
            misfits.append(f"{where}[{k}]")
    return rows


def _default(each: _Field) -> Any:
    return msgspec.to_builtins(each.default)  # a copy, because callers change the rows
