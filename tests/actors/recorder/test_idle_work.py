"""What a recorder does with saved episodes: their videos are transcoded, and only then uploaded."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import msgspec
import pytest

from holdfast.actors.recorder.idle_transcoding import IdleTranscoding
from holdfast.actors.recorder.idle_work import IdleWork
from holdfast.actors.recorder.record_settings import RecordSettings
from holdfast.errors import DatasetError
from holdfast.robot.dataset import video_encoder
from holdfast.robot.dataset.verification import verify
from holdfast.robot.dataset.video_transcoding import codec_of
from holdfast.tests.robot.dataset import recordings
from holdfast.tests.robot.dataset.upload_hub import UploadHub
from holdfast.tests.waiting import wait_until

RETRY_NS = 30_000_000_000
LOG = logging.getLogger("idle work")


def settings(root: Path, **more: Any) -> RecordSettings:
    return RecordSettings(root=str(root), archive_codec="av1", **more)


def videos(root: Path) -> list[str]:
    return [codec_of(path) for path in sorted(root.glob("videos/*/*/*.mp4"))]


def test_videos_are_transcoded_before_they_are_uploaded(hub: UploadHub, root: Path) -> None:
    """The upload waits for it and says so; what the hub gets are the transcoded files alone."""
    work = IdleWork(settings(root, upload="deferred", repo_id="lab/pick"), LOG)
    seen = []

    def report() -> dict[str, Any]:
        work.serve(0, 2, busy=False)
        said = work.report()
        seen.append((said["transcoding"]["state"], said["upload"]["state"]))
        if said["transcoding"]["state"] != "done":
            assert (said["upload"]["state"], said["upload"]["waits_for"]) == (
                "waiting",
                "transcoding",
            )
        return said

    said = wait_until(
        lambda: said if (said := report())["upload"]["state"] == "done" else None, within_s=120
    )
    work.close()
    assert ("transcoding", "waiting") in seen
    assert ("done", "sending") in seen
    assert said["transcoding"]["transcoded"] == said["transcoding"]["videos"] == 2
    assert said["transcoding"]["before_mb"] >= 0
    assert videos(root) == ["av1", "av1"]
    tree = hub.repositories["lab/pick"].tagged[-1]
    for path in root.glob("videos/*/*/*.mp4"):
        assert tree[path.relative_to(root).as_posix()] == path.read_bytes()


def test_a_recording_pauses_the_transcoding(root: Path) -> None:
    """It does not begin during an episode; one that runs is paused, and goes on afterwards."""
    transcoding = IdleTranscoding(settings(root), LOG)

    def state(*, busy: bool, episodes: int = 2) -> str:
        transcoding.serve(0, episodes, busy=busy)
        return str((transcoding.report() or {})["state"])

    assert state(busy=True) == "waiting"
    assert state(busy=False) == "transcoding"
    wait_until(lambda: state(busy=True) in {"paused", "done"}, within_s=120)
    wait_until(lambda: state(busy=False) == "done", within_s=120)
    assert videos(root) == ["av1", "av1"]
    recordings.add_episode(root, recordings.SMALL, 2)
    assert transcoding.comes_first is False
    wait_until(lambda: state(busy=False, episodes=3) == "done", within_s=120)
    assert videos(root) == ["av1"] * 3
    assert verify(root).whole
    transcoding.close()


def test_a_failed_transcoding_is_said_and_holds_up_no_upload(root: Path) -> None:
    """What has no dataset has an error in the report, and is tried again after a pause."""
    (root / "meta" / "info.json").rename(root / "info.json")
    transcoding = IdleTranscoding(settings(root), LOG)

    def error(now_ns: int) -> str:
        transcoding.serve(now_ns, 2, busy=False)
        return str((transcoding.report() or {})["error"])

    assert transcoding.comes_first is False, "nothing is recorded yet"
    wait_until(lambda: "it has no meta/info.json" in error(0), within_s=120)
    assert not transcoding.comes_first
    (root / "info.json").rename(root / "meta" / "info.json")
    error(RETRY_NS - 1)
    assert (transcoding.report() or {})["state"] == "waiting"
    wait_until(lambda: not error(RETRY_NS), within_s=120)
    assert videos(root) == ["av1", "av1"]
    transcoding.close()


def test_an_encoder_that_does_not_work_here_is_an_error_at_the_start(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A frame is encoded before the recorder is ready; the reason has the encoder's name."""
    video_encoder.choose.cache_clear()
    monkeypatch.setattr(video_encoder, "_fault", lambda name: "no such encoder")
    with pytest.raises(DatasetError, match=r"av1 works here \(libsvtav1: no such encoder\)"):
        IdleTranscoding(settings(root), LOG)
    video_encoder.choose.cache_clear()
    monkeypatch.undo()
    assert IdleTranscoding(RecordSettings(root=str(root)), LOG).report() is None


def test_the_settings_of_the_archive_are_bounded() -> None:
    """Another codec, or a quality that there is not, is refused by name."""
    for wrong in ({"archive_codec": "h264"}, {"archive_quality": 64}):
        with pytest.raises(msgspec.ValidationError, match=next(iter(wrong))):
            msgspec.convert({"root": "data", **wrong}, RecordSettings)
