"""A checkpoint of the hub: downloaded once, then from the cache, without a network too."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from holdfast.tests.peers.lerobot_checkpoints import EnvironmentFor

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

COMMIT = "3f2a" * 10
FILES = {
    "config.json": b'{"type": "act"}',
    "model.safetensors": b"weights",
    "policy_preprocessor.json": b"{}",
    "train.log": b"not for a policy",
}
PROGRAM = """
import json, sys
from holdfast.errors import PolicyError
from holdfast.policy.lerobot.checkpoint_folder import folder_of

revision, whole = json.loads(sys.argv[1])
try:
    said = {"folder": str(folder_of("user/pick", revision, whole))}
except PolicyError as error:
    said = {"error": str(error)}
sys.stdout.write(json.dumps(said))
"""

Ask = Callable[..., dict[str, str]]


class SmallHub(BaseHTTPRequestHandler):
    """The hub's HTTP interface for one model, as far as a download needs it."""

    asked: list[str]

    def do_GET(self) -> None:
        self._answer(with_content=True)

    def do_HEAD(self) -> None:
        self._answer(with_content=False)

    def log_message(self, *_: object) -> None:
        """Nothing on the terminal."""

    def _answer(self, with_content: bool) -> None:
        self.asked.append(self.path)
        api, _, revision = self.path.partition("/api/models/user/pick/revision/")
        if not api and revision in ("main", COMMIT):
            siblings = [{"rfilename": name} for name in FILES]
            self._send(
                json.dumps({"id": "user/pick", "sha": COMMIT, "siblings": siblings}).encode()
            )
            return
        if self.path.startswith(f"/api/models/user/pick/tree/{COMMIT}"):
            tree = [
                {"type": "file", "path": name, "size": len(content), "oid": "0" * 40}
                for name, content in FILES.items()
            ]
            self._send(json.dumps(tree).encode())
            return
        name = self.path.rpartition("/")[2]
        place = self.path.removesuffix(f"/{name}").removeprefix("/user/pick/resolve/")
        if place in ("main", COMMIT) and name in FILES:
            self._send(FILES[name], with_content)
            return
        self.send_response(404)
        self.send_header("X-Error-Code", "RevisionNotFound")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _send(self, content: bytes, with_content: bool = True) -> None:
        self.send_response(200)
        self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if with_content:
            self.wfile.write(content)


@pytest.fixture
def hub() -> Iterator[ThreadingHTTPServer]:
    """A hub on loopback, with the paths that were asked for."""
    SmallHub.asked = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), SmallHub)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def ask(
    lerobot: Path, lerobot_environment: EnvironmentFor, hub: ThreadingHTTPServer, tmp_path: Path
) -> Ask:
    """Where user/pick is, in a process of its own whose cache is the test's."""

    def run(
        revision: str | None = None, whole: bool = True, offline: bool = False
    ) -> dict[str, str]:
        environment = {
            **os.environ,
            **lerobot_environment("act"),
            "HF_HOME": str(tmp_path / "cache"),
            "HF_ENDPOINT": f"http://127.0.0.1:{hub.server_port}",
            "HF_HUB_OFFLINE": str(int(offline)),
            "NO_PROXY": "127.0.0.1",
        }
        done = subprocess.run(
            [lerobot, "-P", "-c", PROGRAM, json.dumps([revision, whole])],
            check=True,
            stdout=subprocess.PIPE,
            timeout=300,
            env=environment,
        )
        return dict(json.loads(done.stdout))

    return run


def test_a_checkpoint_is_downloaded_once_and_then_needs_no_network(ask: Ask) -> None:
    """A check downloads the configuration only, a replica what a policy is loaded from."""
    described = Path(ask(whole=False)["folder"])
    assert [path.name for path in described.iterdir()] == ["config.json"]
    first = Path(ask()["folder"])
    assert first.name == COMMIT
    assert {path.name for path in first.iterdir()} == FILES.keys() - {"train.log"}
    asked = len(SmallHub.asked)
    assert ask(offline=True) == ask(offline=True, revision=COMMIT) == {"folder": str(first)}
    assert len(SmallHub.asked) == asked


def test_an_unfinished_download_is_refused_without_a_network(ask: Ask) -> None:
    """The hub's library returns the folder, however little of the snapshot is in it."""
    ask(whole=False)
    error = ask(offline=True)["error"]
    assert "has no model.safetensors" in error
    assert "`hf download user/pick`" in error


def test_a_checkpoint_that_is_not_here_is_a_clear_error(ask: Ask) -> None:
    """Offline without a cache, or at a revision that the hub does not have: what to run."""
    error = ask(offline=True, revision="3f2a")["error"]
    assert "'user/pick' is no directory here, is not in the cache of the hub" in error
    assert "`hf download user/pick --revision 3f2a` where there is a network" in error
    assert "RevisionNotFound" in ask(revision="no_such")["error"]
