"""The fleet as a graph: order, shared memory and sockets, for people and for Graphviz."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

Row = dict[str, Any]


def edges(rows: list[Row]) -> Iterator[tuple[str, str, str]]:
    """(from, to, by what): frames and plans flow from a writer to its readers."""
    writer = {segment: row["name"] for row in rows for segment in row["writes"]}
    for row in rows:
        for segment in row["reads"]:
            yield writer[segment], row["name"], segment
    binds = {}
    for row in rows:
        for key, endpoint in row["endpoints"].items():
            if (row["kind"], key) in _BINDS:
                binds[endpoint] = row["name"]
    for row in rows:
        for endpoint in row["endpoints"].values():
            owner = binds.get(endpoint)
            if owner and owner != row["name"]:
                yield row["name"], owner, endpoint.rpartition("/")[2]


_BINDS = {("broker", "front"), ("broker", "back"), ("network", "control")}
"""The endpoints that each kind binds; every other actor with the same endpoint connects."""


def text(rows: list[Row]) -> str:
    """One paragraph per actor."""
    lines = []
    flows = list(edges(rows))
    for row in rows:
        lines.append(f"{row['name']}  {row['kind']}, {row['state']}")
        if row["after"]:
            lines.append(f"    starts after {', '.join(row['after'])}")
        if row["group"]:
            lines.append(f"    in the group {row['group']}")
        lines += [f"    {what} -> {to}" for source, to, what in flows if source == row["name"]]
    return "\n".join(lines)


def dot(rows: list[Row]) -> str:
    """For `dot -Tsvg`: sockets dashed, shared memory solid."""
    lines = ["digraph fleet {", "  rankdir=LR; node [shape=box];"]
    lines += [f'  "{row["name"]}" [label="{row["name"]}\\n{row["kind"]}"];' for row in rows]
    for source, to, what in edges(rows):
        style = "solid" if any(what in row["reads"] for row in rows) else "dashed"
        lines.append(f'  "{source}" -> "{to}" [label="{what}", style={style}];')
    return "\n".join([*lines, "}"])
