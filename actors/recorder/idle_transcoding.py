"""`IdleTranscoding`: videos of saved episodes become those of the archive while none is recorded.

A process of its own transcodes them (transcode_program.py), with the lowest priority. It is paused
while an episode is recorded or saved, and begins again with the next saved episode, after a failure
with pauses that grow. What is left when the fleet stops is done by the next run of it.
"""

from __future__ import annotations

import logging
from typing import Any

from ...robot.dataset.encoding import Archiving
from .idle_program import IdleProgram
from .record_settings import RecordSettings
from .transcode_note import TranscodeNote, TranscodeTask

_PROGRAM = f"{__package__}.transcode_program"
_RETRY_NS = 30_000_000_000
_LONGEST_RETRY_NS = 600_000_000_000


class IdleTranscoding:
    """As `record` says; without `archive_codec`, nothing is done. Raises DatasetError where no
    encoder of that codec works here."""

    def __init__(self, record: RecordSettings, log: logging.Logger) -> None:
        self._root, self._log = record.root, log
        self._archiving: Archiving | None = record.archiving
        if self._archiving is not None:
            from ...robot.dataset.video_encoder import choose

            choose(self._archiving.codec)
        self._program: IdleProgram[TranscodeNote] | None = None
        self._note = TranscodeNote()
        self._episodes = self._begun_with = self._archived = 0
        """How many the dataset has, had when the program began, and had when it was done."""
        self._error = ""
        self._due_ns = 0
        self._pause_ns = _RETRY_NS

    @property
    def comes_first(self) -> bool:
        """Whether an upload has to wait: videos are to be transcoded, and the last attempt has not
        failed."""
        return self._archiving is not None and self._waiting and not self._error

    def serve(self, now_ns: int, episodes: int, *, busy: bool) -> None:
        """`episodes` are in the dataset; `busy`: one is in progress, or on its way to the disk, or
        an upload reads the files."""
        if self._archiving is None:
            return
        self._episodes = episodes
        if self._program is not None:
            ended = self._program.follow(paused=busy)
            self._note = self._program.note
            if ended is not None:
                self._end(ended, now_ns)
        elif not busy and now_ns >= self._due_ns and self._waiting:
            self._note, self._begun_with = TranscodeNote(), episodes
            task = TranscodeTask(root=self._root, archiving=self._archiving)
            self._program = IdleProgram(_PROGRAM, task, TranscodeNote)

    def close(self) -> None:
        """End the process; the next one continues."""
        program, self._program = self._program, None
        if program is not None:
            program.close()

    def report(self) -> dict[str, Any] | None:
        """For the status; None if nothing is to be transcoded."""
        if self._archiving is None:
            return None
        note = self._note
        state = "waiting" if self._waiting else "done"
        if self._program is not None:
            state = "paused" if note.paused or note.waits else "transcoding"
        return {
            "codec": self._archiving.codec,
            "state": state,
            "transcoded": note.transcoded,
            "videos": note.files,
            "video": note.file,
            "waits_for": note.waits,
            "before_mb": round(note.before_bytes / 1e6, 1),
            "after_mb": round(note.after_bytes / 1e6, 1),
            "left": list(note.left),
            "error": self._error,
        }

    @property
    def _waiting(self) -> bool:
        return self._episodes > self._archived

    def _end(self, status: int, now_ns: int) -> None:
        self.close()
        note = self._note
        if note.done:
            self._archived = self._begun_with
            self._error, self._pause_ns = "", _RETRY_NS
            if note.transcoded:
                self._log.info("%d videos of %s were transcoded", note.transcoded, self._root)
            for reason in note.left:
                self._log.warning("%s", reason)
            return
        error = note.error or f"the transcoding ended with status {status}"
        if error != self._error:
            self._log.warning("%s", error)
        self._error = error
        self._due_ns = now_ns + self._pause_ns
        self._pause_ns = min(2 * self._pause_ns, _LONGEST_RETRY_NS)
