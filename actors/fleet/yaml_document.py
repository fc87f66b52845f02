"""A YAML file with the line of every place in it."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from typing import Any

import yaml
from msgspec.structs import replace

from ...errors import Fault
from . import yaml11

MAX_DEPTH = 40

MAX_PLACES = 100_000

_MERGE = "tag:yaml.org,2002:merge"


class Document:
    """A parsed file: its plain value, and the line of every path in it."""

    def __init__(self, value: Any, trace: Trace | None = None) -> None:
        self.value = value
        self._trace = trace or Trace()
        self.faults = tuple(self._trace.faults)

    def placed(self, fault: Fault) -> Fault:
        """`fault` with the line of the nearest part of its path that is in the file, and with what
        YAML made of the value there when that is not what it looks like."""
        surprise = self._trace.surprises.get(fault.path, "")
        remedy = "; ".join(filter(None, (fault.remedy, surprise)))
        line = self._trace.lines.get(self.nearest(fault.path), 0)
        return replace(fault, remedy=remedy, line=line)

    def nearest(self, path: str) -> str:
        """`path`, or the nearest part of it that is in the file."""
        while path not in self._trace.lines and path != "$":
            path = path[: max(path.rfind("."), path.rfind("["))]
        return path

    def key(self, path: str, key: Any) -> str:
        """A key of the mapping at `path` as the file spells it."""
        return self._trace.keys.get((path, key), str(key))


class Trace:
    """What is known of the places of a file, by path, beside their values."""

    def __init__(self) -> None:
        self.lines: dict[str, int] = {}
        self.surprises: dict[str, str] = {}
        """What YAML made of plain words that look like something else."""
        self.keys: dict[tuple[str, Any], str] = {}
        """Keys that are no text, as they are spelt."""
        self.faults: list[Fault] = []

    def follow(self, loader: yaml.SafeLoader, node: yaml.Node, path: str, depth: int = 0) -> None:
        """Note everything below `node`, and the keys that PyYAML would silently merge."""
        if depth > MAX_DEPTH or len(self.lines) > MAX_PLACES:
            raise _TooLargeError
        self.lines.setdefault(path, node.start_mark.line + 1)
        if isinstance(node, yaml.SequenceNode):
            for i, item in enumerate(node.value):
                self.follow(loader, item, f"{path}[{i}]", depth + 1)
        elif isinstance(node, yaml.MappingNode):
            self._follow_mapping(loader, node, path, depth)
        elif isinstance(node, yaml.ScalarNode) and node.style is None:
            self._note_scalar(path, node.value, loader.construct_object(node))

    def _follow_mapping(
        self,
        loader: yaml.SafeLoader,
        node: yaml.MappingNode,
        path: str,
        depth: int,
        overriding: AbstractSet[str] = frozenset(),
    ) -> None:
        """Note the entries of `node` but those that are `overriding`, and what it merges by `<<`:
        https://yaml.org/type/merge.html."""
        if depth > MAX_DEPTH:
            raise _TooLargeError
        seen: dict[str, int] = {}
        merged: list[yaml.MappingNode] = []
        for key, value in node.value:
            name, line = str(key.value), key.start_mark.line + 1
            if key.tag == _MERGE:
                if isinstance(value, yaml.MappingNode):
                    merged.append(value)
                else:
                    # Which one of a list comes first differs between versions of PyYAML.
                    found = f"merges a {value.id}"
                    remedy = "merge one mapping, e.g. <<: *robot"
                    self.faults.append(Fault(f"{path}.<<", found, remedy=remedy, line=line))
                continue
            if name in overriding:
                continue
            if isinstance(key, yaml.ScalarNode) and key.style is None:
                self.keys[path, loader.construct_object(key)] = name
            if name in seen:
                fault = Fault(
                    f"{path}.{name}",
                    f"given twice, first in line {seen[name]}",
                    remedy="remove or rename one of them",
                    line=line,
                )
                self.faults.append(fault)
            seen[name] = line
            self.lines.setdefault(f"{path}.{name}", line)
            self.follow(loader, value, f"{path}.{name}", depth + 1)
        for each in merged:
            self._follow_mapping(loader, each, path, depth + 1, overriding | seen.keys())

    def _note_scalar(self, path: str, text: str, value: Any) -> None:
        if path in self.surprises:
            return
        self.surprises[path] = yaml11.surprise(text, value)
        if changed := yaml11.changed(text, value):
            self.faults.append(Fault(path, changed, line=self.lines[path]))


def parse(text: str) -> Document:
    """Parse YAML. Syntax errors and keys given twice become faults of the document."""
    trace = Trace()
    try:
        loader = yaml.SafeLoader(text)
        node = loader.get_single_node()
        if node is not None:
            trace.follow(loader, node, "$")
        value = None if node is None else loader.construct_document(node)
    except (_TooLargeError, RecursionError):
        found = (
            f"nests deeper than {MAX_DEPTH} or has more than {MAX_PLACES} entries, aliases "
            "counted as often as they are used"
        )
        return _unreadable(Fault("$", found, remedy="say less in one file"))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        found = f"this is not YAML: {error.problem or error.context}"
        remedy = "indent with spaces, not with tabs" if "'\\t'" in found else ""
        return _unreadable(Fault("$", found, remedy=remedy, line=mark.line + 1 if mark else 0))
    except yaml.YAMLError as error:
        return _unreadable(Fault("$", f"this is not YAML: {error}"))
    except (ValueError, TypeError, AttributeError, OverflowError, LookupError) as error:
        # PyYAML does not catch what int, float and date raise for `!!int x` or 2001-99-99.
        return _unreadable(Fault("$", f"a value that is none: {error}"))
    return Document(value, trace)


def _unreadable(fault: Fault) -> Document:
    trace = Trace()
    trace.faults.append(fault)
    return Document(None, trace)


class _TooLargeError(Exception):
    """A few bytes of YAML can stand for any number of values, or for themselves."""
