"""The JSON schema of fleet.yaml, by the paths of its places."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from holdfast.actors.fleet.json_schema import schema

SCHEMA: dict[str, Any] = schema()
ROOT_NODE: dict[str, Any] = {"$ref": SCHEMA["$ref"]}


def children(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """What a schema says of a value, with references followed, each of its alternatives."""
    if "$ref" in node:
        yield from children(SCHEMA["$defs"][node["$ref"].rpartition("/")[2]])
        return
    for key in ("anyOf", "oneOf", "allOf"):
        for each in node.get(key, ()):
            yield from children(each)
    yield node


def at(path: str) -> list[dict[str, Any]]:
    """What the schema says of the place `path`, as `robots[].plan` or `services.*`; empty if there
    is none. The path of the whole file is empty."""
    nodes = [ROOT_NODE]
    for part in path.replace("[]", ".[]").split(".") if path else []:
        found = []
        for node in (each for known in nodes for each in children(known)):
            if part == "[]":
                found += [node["items"]] if "items" in node else []
            elif part == "*":
                more = node.get("additionalProperties")
                found += [more] if isinstance(more, dict) else []
            elif part in node.get("properties", {}):
                found.append(node["properties"][part])
        nodes = found
    return nodes


def objects(node: dict[str, Any], path: str = "", without: tuple[str, ...] = ()) -> Iterator[str]:
    """The paths of all objects with keys of their own, `path` first; nothing below the keys
    `without`."""
    for each in children(node):
        properties = each.get("properties")
        if properties:
            yield path
            for name, value in properties.items():
                if name not in without:
                    yield from objects(value, f"{path}.{name}".lstrip("."), without)
        for key, below in (("additionalProperties", ".*"), ("items", "[]")):
            if isinstance(each.get(key), dict):
                yield from objects(each[key], path + below, without)


def default_shown(default: Any) -> str:
    """A default as a page has it."""
    if isinstance(default, bool):
        return str(default).lower()
    if isinstance(default, int | float):
        return str(int(default)) if default == int(default) else str(default)
    return f"`{default}`" if default and isinstance(default, str) else "none"
