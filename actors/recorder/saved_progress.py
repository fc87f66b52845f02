"""`SavedProgress`: what a strategy must not forget when its process is killed.

A small file in the fleet's runtime directory, which ends with the fleet. What is lost with it is
bookkeeping: the episodes themselves are in the dataset.
"""

from __future__ import annotations

from pathlib import Path

import msgspec


class _Progress(msgspec.Struct):
    kept: int = 0
    recording: bool = False
    home: dict[str, float] = {}


class SavedProgress:
    """Of one robot. The first incarnation of a fleet's run begins anew."""

    def __init__(self, rundir: Path, robot: str, incarnation: int) -> None:
        self._path = rundir / f"{robot}.progress.json"
        self._saved = _Progress()
        if incarnation > 1:
            try:
                self._saved = msgspec.json.decode(self._path.read_bytes(), type=_Progress)
            except (OSError, msgspec.MsgspecError):
                self._saved = _Progress()  # killed before it had kept any

    @property
    def interrupted(self) -> bool:
        """Whether an episode was in progress when the incarnation before ended."""
        return self._saved.recording

    def kept(self) -> int:
        """How many episodes were kept."""
        return self._saved.kept

    def home(self, now: dict[str, float]) -> dict[str, float]:
        """The pose that the robot began in: `now`, unless an incarnation before has seen it."""
        if not self._saved.home:
            self._saved.home = now
            self._write()
        return self._saved.home

    def keep(self, kept: int, *, recording: bool) -> None:
        """Remember how many episodes were kept, and whether one is in progress."""
        if (kept, recording) != (self._saved.kept, self._saved.recording):
            self._saved.kept, self._saved.recording = kept, recording
            self._write()

    def _write(self) -> None:
        draft = self._path.with_suffix(".new")
        draft.write_bytes(msgspec.json.encode(self._saved))
        draft.replace(self._path)
