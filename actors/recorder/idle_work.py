"""`IdleWork`: what is done with saved episodes while none is recorded: their videos are transcoded,
then uploaded."""

from __future__ import annotations

import logging
from typing import Any

from .deferred_upload import DeferredUpload
from .idle_transcoding import IdleTranscoding
from .record_settings import RecordSettings


class IdleWork:
    """As `record` says. Raises DatasetError where the codec of the archive does not work here."""

    def __init__(self, record: RecordSettings, log: logging.Logger) -> None:
        self._transcoding = IdleTranscoding(record, log)
        self._upload = DeferredUpload(record, log)

    def serve(self, now_ns: int, episodes: int, *, busy: bool) -> None:
        """`episodes` are in the dataset; `busy`: one is in progress, or on its way to the disk."""
        # One of the two at a time: a file must not be replaced while it is sent.
        self._transcoding.serve(now_ns, episodes, busy=busy or self._upload.runs)
        self._upload.serve(now_ns, episodes, busy=busy, held=self._transcoding.comes_first)

    def close(self) -> None:
        """End both; the next start continues."""
        self._transcoding.close()
        self._upload.close()

    def report(self) -> dict[str, Any]:
        """For the status; None for what is not to be done."""
        return {"transcoding": self._transcoding.report(), "upload": self._upload.report()}
