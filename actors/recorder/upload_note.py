"""What a recorder and the process that uploads for it say to each other. Imports nothing heavy."""

from __future__ import annotations

import msgspec


class UploadTask(msgspec.Struct, frozen=True, kw_only=True):
    """What is uploaded to where."""

    root: str
    repo_id: str
    private: bool = False
    max_mbps: float | None = None


class UploadNote(msgspec.Struct, frozen=True, kw_only=True):
    """How far it is. It sends nothing while `paused`; `episodes` are on the hub when `done`;
    `error` says why it has ended."""

    sent_bytes: int = 0
    size_bytes: int = 0
    episodes: int = 0
    paused: bool = False
    done: bool = False
    error: str = ""
