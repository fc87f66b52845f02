"""A recorder's upload, by its own process, to a hub on loopback."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from holdfast.actors.recorder import upload_program
from holdfast.actors.recorder.deferred_upload import DeferredUpload
from holdfast.actors.recorder.record_settings import RecordSettings
from holdfast.actors.recorder.upload_note import UploadNote, UploadTask
from holdfast.tests.robot.dataset import recordings
from holdfast.tests.robot.dataset.upload_hub import UploadHub
from holdfast.tests.waiting import wait_until

RETRY_NS = 30_000_000_000
NOWHERE = "http://127.0.0.1:9"


class ServedUpload:
    """An upload with the clock of its recorder; `close` at the end."""

    def __init__(self, root: Path, **settings: Any) -> None:
        record = RecordSettings(
            root=str(root), **{"upload": "deferred", "repo_id": "lab/pick", **settings}
        )
        self.upload = DeferredUpload(record, logging.getLogger("upload"))
        self.now_ns, self.episodes, self.busy = 0, 2, False

    def report(self) -> dict[str, Any]:
        """After one turn of the recorder."""
        self.upload.serve(self.now_ns, self.episodes, busy=self.busy)
        return self.upload.report() or {}

    def until(self, **wanted: Any) -> dict[str, Any]:
        """Its report, once it has these values."""
        return wait_until(
            lambda: report if (report := self.report()).items() >= wanted.items() else None,
            f"an upload with {wanted}",
            within_s=60,
        )


def test_what_waits_is_sent_while_nothing_is_recorded(hub: UploadHub, root: Path) -> None:
    """It does not begin during an episode; each later episode is sent in its turn."""
    served = ServedUpload(root)
    served.busy = True
    assert served.report()["state"] == "waiting"
    assert served.report()["waiting"] == 2
    served.busy = False
    done = served.until(state="done")
    assert (done["waiting"], done["error"]) == (0, "")
    assert done["sent_mb"] == done["size_mb"] > 0
    served.episodes = 3  # said before it is on the disk: nothing new is there
    assert served.report()["state"] == "sending"
    served.upload.close()
    assert len(hub.repositories["lab/pick"].tagged) == 1


def test_an_upload_begins_when_enough_episodes_wait(root: Path) -> None:
    """`upload_every` counts those that the hub lacks."""
    served = ServedUpload(root, upload_every=3)
    assert served.report()["state"] == "waiting"
    served.upload.close()


def test_a_recording_pauses_a_deferred_upload_only(hub: UploadHub, root: Path) -> None:
    """A continuous one goes on, and the paused one goes on afterwards."""
    hub.hold_at = 1
    deferred = ServedUpload(root)
    wait_until(lambda: deferred.report() and hub.held.is_set(), within_s=60)
    deferred.busy = True
    assert deferred.report()["state"] == "sending"
    hub.go_on.set()
    deferred.until(state="paused")
    deferred.busy = False
    deferred.until(state="done")
    continuous = ServedUpload(root, upload="continuous", repo_id="lab/again")
    continuous.busy = True
    continuous.until(state="done")


def test_a_failed_upload_is_tried_again_and_the_status_says_why(
    hub: UploadHub, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error stays until an upload succeeds; the pauses between attempts grow."""
    monkeypatch.setenv("HF_ENDPOINT", NOWHERE)
    served = ServedUpload(root)
    failed = wait_until(
        lambda: report if (report := served.report())["error"] else None, within_s=60
    )
    assert f"{NOWHERE} is not reachable" in failed["error"]
    assert (failed["state"], failed["waiting"]) == ("waiting", 2)
    monkeypatch.setenv("HF_ENDPOINT", hub.url)
    served.now_ns = RETRY_NS - 1
    assert served.report()["state"] == "waiting"
    served.now_ns = RETRY_NS
    again = served.report()
    assert again["state"] == "sending"
    assert again["error"] == failed["error"]
    served.until(state="done", error="")


@pytest.fixture
def program(root: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The program itself, paused before it begins."""
    task = msgspec.json.encode(UploadTask(root=str(root), repo_id="lab/pick")).decode()
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", upload_program.__name__, task],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdin is not None
    process.stdin.write(b"p")
    process.stdin.flush()
    yield process
    process.kill()
    process.communicate()


def test_a_paused_upload_sends_nothing_and_holds_no_lock_of_a_writer(
    hub: UploadHub, program: subprocess.Popen[bytes], root: Path
) -> None:
    """An episode is saved meanwhile; afterwards it sends all that was there when it began."""
    assert program.stdout is not None
    assert program.stdin is not None
    notes = (msgspec.json.decode(line, type=UploadNote) for line in program.stdout)
    assert next(note for note in notes if note.paused).sent_bytes == 0
    recordings.add_episode(root, recordings.SMALL, 2)
    assert not hub.transfers
    program.stdin.write(b"r")
    program.stdin.flush()
    *_, last = notes
    assert last.done
    assert len(hub.received) == 7


def test_an_upload_ends_with_its_recorder(hub: UploadHub, program: subprocess.Popen[bytes]) -> None:
    """A recorder that is killed closes the pipe, wherever the upload is."""
    assert program.stdout is not None
    assert program.stdin is not None
    program.stdout.readline()
    program.stdin.close()
    program.stdin = None
    assert program.wait(60) == 0
    assert not hub.repositories["lab/pick"].tags
