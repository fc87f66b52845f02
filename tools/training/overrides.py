"""`override`: the keys of a config, changed by `key=value` from the command line."""

from __future__ import annotations

import difflib
import typing
from collections.abc import Iterable
from typing import Annotated, Any, Literal, TypeVar

import msgspec

from .training_config import LoraConfig, OptimizationConfig

C = TypeVar("C", bound=OptimizationConfig)


def override(config: C, settings: Iterable[str]) -> C:
    """`config` with `settings` such as `steps=200`, `network.width=64`, `cameras=top,wrist`.

    Raises ValueError that names the key, what was found and what is expected.
    """
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not equals:
            raise ValueError(f"{setting}: expected KEY=VALUE, as steps=200")
        types = _keys(config)
        if key not in types:
            meant = f"; did you mean {near}?" if (near := _nearest(key, types)) else "."
            raise ValueError(f"no key {key}{meant} There are: {', '.join(types)}")
        value = _value(key, text, types[key])
        config = _changed(config, key.split("."), value)
    return config


def _changed(whole: Any, path: list[str], value: Any) -> Any:
    """A config or map with `value` at `path`."""
    first, *rest = path
    if isinstance(whole, dict):
        return {**whole, first: _changed(whole.get(first, {}), rest, value) if rest else value}
    new = _changed(getattr(whole, first), rest, value) if rest else value
    return msgspec.structs.replace(whole, **{first: new})


def network_type(kind: str) -> type[msgspec.Struct]:
    """The fields of a kind's `network`."""
    if kind in {"pi0", "pi05"}:
        from ...policy.pi0.pi_settings import PiSettings

        return PiSettings
    if kind == "flow":
        from ...policy.flow_network import FlowConfig

        return FlowConfig
    from ...policy.act import ActConfig

    return ActConfig


def _keys(config: OptimizationConfig) -> dict[str, Any]:
    """The type of each key that an argument can set, those of a part with its name before."""
    types: dict[str, Any] = {}
    parts: dict[str, Any] = {}
    for field in msgspec.structs.fields(type(config)):
        part = network_type(config.kind) if field.name == "network" else field.type
        if part is LoraConfig or field.name == "network":
            parts |= _inner(field.name, part)
        elif _from_text(field.type):
            types[field.name] = field.type
    return types | parts


def _inner(name: str, part: type[msgspec.Struct]) -> dict[str, Any]:
    """The types of the fields of a part, and of its parts."""
    types: dict[str, Any] = {}
    for field in msgspec.structs.fields(part):
        key = f"{name}.{field.name}"
        deeper = isinstance(field.type, type) and issubclass(field.type, msgspec.Struct)
        types |= _inner(key, field.type) if deeper else {key: field.type}
    return types


def _nearest(key: str, types: Iterable[str]) -> str | None:
    """The key that was probably meant: also one of a part, given without the part's name."""
    by_name = {name.rpartition(".")[2]: name for name in types} | {name: name for name in types}
    near = difflib.get_close_matches(key, by_name, 1)
    return by_name[near[0]] if near else None


def _from_text(kind: Any) -> bool:
    """Whether one argument can say such a value."""
    plain = typing.get_args(kind)[0] if typing.get_origin(kind) is Annotated else kind
    return plain in {int, float, str, bool} or typing.get_origin(plain) in {Literal, tuple}


def _value(key: str, text: str, kind: Any) -> Any:
    given: Any = text
    if typing.get_origin(kind) is tuple:
        given = [part.strip() for part in text.split(",") if part.strip()]
    try:
        return msgspec.convert(given, kind, strict=False)
    except msgspec.ValidationError:
        raise ValueError(f"{key}: found {text!r}, expected {_expected(kind)}") from None


def _expected(kind: Any) -> str:
    if typing.get_origin(kind) is Annotated:
        metas = [meta for meta in typing.get_args(kind)[1:] if isinstance(meta, msgspec.Meta)]
        return metas[0].description or str(kind)
    if typing.get_origin(kind) is Literal:
        return " or ".join(map(str, typing.get_args(kind)))
    return {int: "a whole number", float: "a number", bool: "true or false"}.get(kind, str(kind))
