"""What a recorder and the process that transcodes for it say to each other. Imports nothing
heavy."""

from __future__ import annotations

import msgspec

from ...robot.dataset.encoding import Archiving
from .recorder_pipes import PausableNote


class TranscodeTask(msgspec.Struct, frozen=True, kw_only=True):
    """Which dataset's videos, and how."""

    root: str
    archiving: Archiving


class TranscodeNote(PausableNote, frozen=True, kw_only=True):
    """How far it is, as `ArchiveProgress`; `left` says why videos stay as they are."""

    transcoded: int = 0
    files: int = 0
    before_bytes: int = 0
    after_bytes: int = 0
    file: str = ""
    waits: str = ""
    left: tuple[str, ...] = ()
