"""`override`: the keys of a config, changed by `key=value` from the command line."""

from __future__ import annotations

import difflib
import typing
from collections.abc import Iterable
from typing import Annotated, Any, Literal, TypeVar

import msgspec

from ...policy.encoder import EncoderConfig
from .training_config import OptimizationConfig

C = TypeVar("C", bound=OptimizationConfig)


def override(config: C, settings: Iterable[str]) -> C:
    """`config` with `settings` such as `steps=200`, `network.width=64`, `cameras=top,wrist`.

    Raises ValueError that names the key, what was found and what is expected.
    """
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not equals:
            raise ValueError(f"{setting}: expected KEY=VALUE, as steps=200")
        outer, dot, inner = key.partition(".")
        if dot and outer == "network":
            types = _types(network_type(config.kind))
            value = _value(key, text, _type_of(key, inner, types, "network."))
            config = msgspec.structs.replace(config, network={**config.network, inner: value})
            continue
        types = {k: t for k, t in _types(type(config)).items() if _from_text(t)}
        value = _value(key, text, _type_of(key, key, types))
        config = msgspec.structs.replace(config, **{key: value})
    return config


def network_type(kind: str) -> type[EncoderConfig]:
    """The fields of a kind's `network`."""
    if kind == "flow":
        from ...policy.flow_network import FlowConfig

        return FlowConfig
    from ...policy.act import ActConfig

    return ActConfig


def _types(struct: type[msgspec.Struct]) -> dict[str, Any]:
    return {field.name: field.type for field in msgspec.structs.fields(struct)}


def _from_text(kind: Any) -> bool:
    """Whether one argument can say such a value."""
    plain = typing.get_args(kind)[0] if typing.get_origin(kind) is Annotated else kind
    return plain in {int, float, str, bool} or typing.get_origin(plain) in {Literal, tuple}


def _type_of(key: str, name: str, types: dict[str, Any], prefix: str = "") -> Any:
    if name in types:
        return types[name]
    near = difflib.get_close_matches(name, types, 1)
    meant = f"; did you mean {prefix}{near[0]}?" if near else "."
    raise ValueError(f"no key {key}{meant} There are: {', '.join(prefix + name for name in types)}")


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
