"""What a recorder and the process that uploads for it say to each other. Imports nothing heavy."""

from __future__ import annotations

import msgspec

from .recorder_pipes import PausableNote


class UploadTask(msgspec.Struct, frozen=True, kw_only=True):
    """What is uploaded to where."""

    root: str
    repo_id: str
    private: bool = False
    max_mbps: float | None = None


class UploadNote(PausableNote, frozen=True, kw_only=True):
    """How far it is; `episodes` are on the hub when it is done."""

    sent_bytes: int = 0
    size_bytes: int = 0
    episodes: int = 0
