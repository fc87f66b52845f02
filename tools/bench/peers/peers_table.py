"""The report of `actorctl bench peers` as Markdown, and its place in a page."""

from __future__ import annotations

from typing import Any

from .cases import NOTES

BEGIN, END = "<!-- actorctl bench peers -->", "<!-- end of actorctl bench peers -->"
"""What stands around the table in a page, such as the README."""

BUSY = 0.5
"""A load average at the beginning from which on the machine was busy with other things."""

Row = dict[str, Any]


def markdown(report: dict[str, Any]) -> str:
    """A line for each case, its two rows side by side, and below the table whence it comes."""
    pairs: dict[str, list[Row]] = {}
    for row in report["rows"]:
        pairs.setdefault(row["shown"], []).append(row)
    lines = [
        "| ms | processes | p50 | p99 | max | CPU | p50, 30 ms apart | p99 | max | CPU |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    absent: list[str] = []
    for shown, rows in pairs.items():
        cells = [shown, str(rows[0]["processes"]), *(cell for row in rows for cell in _cells(row))]
        lines.append(f"| {' | '.join(cells)} |")
        absent += dict.fromkeys(f"{shown}: {line}" for row in rows for line in _lacks(row))
    machine = report["machine"]
    load = machine["load"]
    state = (
        f"busy with other work (load {load})" if load >= BUSY else f"quiet otherwise (load {load})"
    )
    counts = sorted({row["n"] for row in report["rows"] if row["n"]})
    n = " and ".join(str(count) for count in counts) or "0"
    measured = (
        f"Measured {report['date']} on {machine['cpus']} CPUs ({machine['cpu']}), Linux "
        f"{machine['kernel']}, {state}; n = {n} by case; rounds of all cases: {report['rounds']}. "
        "p50 and CPU: the median of the rounds and their quartiles. CPU: of all processes, by "
        "request."
    )
    versions = sorted({row["version"] for row in report["rows"] if "version" in row})
    parts = [*absent, measured, f"Versions: {'; '.join(versions)}.", *NOTES]
    return "\n".join(lines) + "\n\n" + "\n\n".join(parts) + "\n"


def _lacks(row: Row) -> list[str]:
    """Why a row has no figures, or what became of the requests that failed."""
    if not row["n"]:
        return [f"not measured: {row['why']}"]
    if not row.get("failed"):
        return []
    asked = row["n"] + row["failed"]
    how = "30 ms apart" if row["apart"] else "back to back"
    return [f"{row['failed']} of {asked} requests {how} failed, the last: {row['why']}"]


def _cells(row: Row) -> list[str]:
    if not row["n"]:
        return ["-"] * 4
    p50, cpu = row["p50_quartiles"], row["cpu_ms_quartiles"]
    failed = f", {row['failed']} failed" if row.get("failed") else ""
    return [_spread(p50) + failed, f"{row['p99']:.2f}", f"{row['max']:.2f}", _spread(cpu)]


def _spread(quartiles: list[float]) -> str:
    low, middle, high = quartiles
    if low == high:  # of one round
        return f"{middle:.2f}"
    return f"{middle:.2f} ({low:.2f} to {high:.2f})"


def inserted(page: str, text: str) -> str:
    """`page` with `text` between its marks. Raises ValueError when it has none."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the page has no place for the table: no lines {BEGIN} and {END}")
    return f"{before}{BEGIN}\n{text.rstrip()}\n{END}{after}"
