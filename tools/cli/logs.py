"""Reading the fleet's log: the JSON lines that the supervisor keeps on disk, for people.

Reads the files themselves, and so needs no supervisor.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from ...actors.runtime.bounded_file import older

LEVELS = ("debug", "info", "warning", "error", "critical")
POLL_S = 0.1
_COLOURS = {
    "warning": "\x1b[33m",
    "error": "\x1b[31m",
    "critical": "\x1b[1;31m",
    "debug": "\x1b[2m",
}
_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
Record = dict[str, Any]


@dataclass(frozen=True)
class Selection:
    """Which records are meant. `names` are actors, or robots with all their actors; `since_s` is
    wall-clock time, in seconds."""

    names: tuple[str, ...] = ()
    since_s: float | None = None
    level: str = "debug"
    grep: re.Pattern[str] | None = None

    def takes(self, record: Record) -> bool:
        if self.names and not any(
            record["actor"] == name or record["actor"].startswith(f"{name}/") for name in self.names
        ):
            return False
        if self.since_s is not None and record["t"] < self.since_s:
            return False
        if _rank(record.get("level", "info")) < _rank(self.level):
            return False
        return self.grep is None or bool(
            self.grep.search(record["message"]) or self.grep.search(record.get("trace", ""))
        )


def _rank(level: str) -> float:
    """How severe a level is, in Python's numbers. Libraries have levels of their own: one without
    a name is written `level 25`, and an unknown name counts as info."""
    if level in LEVELS:
        return 10.0 * (1 + LEVELS.index(level))
    number = level.removeprefix("level ")
    return float(number) if number.isdecimal() else _rank("info")


def parse_since(text: str) -> float:
    """Wall-clock seconds of `10m` (ago), `2h`, `14:05`, or an ISO date. Raises ValueError."""
    if match := re.fullmatch(r"(\d+(?:\.\d+)?)([smhd])", text):
        return time.time() - float(match[1]) * _UNITS[match[2]]
    if re.fullmatch(r"\d{1,2}:\d{2}(:\d{2})?", text):
        clock = datetime.strptime(text, "%H:%M:%S" if text.count(":") == 2 else "%H:%M").time()
        return datetime.combine(datetime.now().date(), clock).timestamp()
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        raise ValueError(
            f"{text!r} is no time: expected 30s, 10m, 2h, 1d, 14:05 or 2026-05-01T14:05"
        ) from None


def read(
    log: Path, selection: Selection, last: int | None, follow: bool
) -> Generator[Record | None, None, None]:
    """The selected records, oldest first: all, or the `last` so many; then, with `follow`, those
    that come, over rotations, and None whenever there is none for now."""
    file = log.open("rb")
    current = list(_selected(file.readlines(), selection))
    found = list(
        _older(log, file.fileno(), selection, None if last is None else last - len(current))
    )
    found += current
    yield from found if last is None else found[max(0, len(found) - last) :]
    rest = b""
    while follow:
        if data := file.read():
            *lines, rest = (rest + data).split(b"\n")
            yield from _selected(lines, selection)
            continue
        yield None
        if _rotated(log, file.fileno()):
            # What was written to the old file before it was moved has been read above.
            file.close()
            file = log.open("rb")
            continue
        time.sleep(POLL_S)
    file.close()


def _older(log: Path, current: int, selection: Selection, wanted: int | None) -> list[Record]:
    """Selected records of the rotated files: of as many of the newest as hold `wanted` of them."""
    found: list[Record] = []
    for path in older(log):
        if wanted is not None and len(found) >= wanted:
            break
        # The current file may have been rotated since it was opened.
        if not os.path.samestat(path.stat(), os.fstat(current)):
            with path.open("rb") as lines:
                found = [*_selected(lines, selection), *found]
    return found


def line(record: Record, colour: bool) -> str:
    """One record as a person reads it; a traceback below it."""
    clock = datetime.fromtimestamp(record["t"]).strftime("%H:%M:%S.%f")[:-3]
    level = record.get("level", "info")
    source = f" [{record['stream']}]" if record.get("stream") in ("stdout", "stderr") else ""
    text = f"{clock} {level:<7} {record['actor']:<16}{source} {record['message']}"
    if record.get("lost"):
        text += f"  ({record['lost']} lines before this one were lost)"
    if record.get("trace"):
        text += "\n" + "\n".join(f"    {row}" for row in record["trace"].rstrip().split("\n"))
    if colour and level in _COLOURS:
        text = f"{_COLOURS[level]}{text}\x1b[0m"
    return text


def _selected(lines: Iterable[bytes], selection: Selection) -> Iterator[Record]:
    for text in lines:
        try:
            record = _decode(text)
        except msgspec.DecodeError:
            continue  # the end of a line whose disk was full, or that is still being written
        if selection.takes(record):
            yield record


_decode = msgspec.json.Decoder(Record).decode


def _rotated(log: Path, fd: int) -> bool:
    try:
        return not os.path.samestat(log.stat(), os.fstat(fd))
    except FileNotFoundError:
        return False  # between the two renames of a rotation
