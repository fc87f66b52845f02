"""`FittedTable`: rows of a status as a table for the width that it gets."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

NARROW = 100
"""Columns below which a table leaves out what can be had elsewhere."""
PROSE = 18
"""Columns that prose is given at least: `killed by SIGKILL`."""

WELL = ("READY", "STREAMING", "PAUSED", "MANUAL", "OPEN")
"""States of a row for which no note follows the tables."""

Row = dict[str, Any]
Column = tuple[str, Callable[[Row], str | Text]]
"""The heading, with `>` for figures, `...` for prose that gives way; and the cell of a row."""


class FittedTable:
    """A table for the width that it gets: a narrow one is without the `spare` columns, and closer
    where it must be."""

    def __init__(
        self,
        rows: Iterable[Row],
        columns: list[Column],
        spare: tuple[str, ...] = (),
        one_line: bool = True,
    ) -> None:
        rows = list(rows)
        self._noted = [row["state"] not in WELL for row in rows]
        """The rows whose state a note below the tables explains."""
        self._headings = [heading for heading, _ in columns]
        self._cells = [[cell(row) for _, cell in columns] for row in rows]
        self._spare, self._one_line = spare, one_line

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        spare = self._spare if options.max_width < NARROW else ()
        kept = [k for k, heading in enumerate(self._headings) if heading.lstrip(">.") not in spare]
        widths = {k: max(cell_len(str(c)) for c in self._column(k)) for k in kept}
        prose = next((k for k in kept if self._headings[k].startswith("...")), None)
        fixed = sum(width for k, width in widths.items() if k != prose)
        least = 0 if prose is None else min(widths[prose], PROSE)
        gap = 2 if fixed + least + 2 * (len(kept) - 1) <= options.max_width else 1
        left = max(4, options.max_width - fixed - gap * (len(kept) - 1))
        table = Table(box=None, pad_edge=False, padding=(0, gap, 0, 0), header_style="dim")
        for k in kept:
            title = Text(self._headings[k].lstrip(">."), no_wrap=True)
            wraps = k == prose and not self._one_line
            figure = self._headings[k].startswith(">")
            table.add_column(title, justify="right" if figure else "left", no_wrap=not wraps)
        for row in self._cells:
            table.add_row(*(self._cut(row[k], left) if k == prose else row[k] for k in kept))
        yield table
        if prose is not None and not self._one_line:
            for row, noted in zip(self._cells, self._noted, strict=True):
                if not noted and not _fits(row[prose], left):
                    yield Text(f"{row[0]} ended: {row[prose]}", style="dim", overflow="fold")

    def _column(self, k: int) -> list[str | Text]:
        return [self._headings[k].lstrip(">."), *(row[k] for row in self._cells)]

    def _cut(self, cell: str | Text, width: int) -> Text:
        """Prose that would take many lines is cut here, and stands whole below the table."""
        text = Text(str(cell))
        if self._one_line or not _fits(cell, width):
            text.truncate(width, overflow="ellipsis")
        return text


def _fits(cell: str | Text, width: int) -> bool:
    return cell_len(str(cell)) <= 2 * width
