"""`UploadHub`: the hub's HTTP interface for dataset repositories on loopback, as far as an upload
and LeRobot's download of it need it.

It has one account, `lab`, whose token is `TOKEN`, and another's repositories may not be written. As
the real one, it refuses a commit of a large file that was not sent before.
"""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

TOKEN = "hf_of_the_lab"
_LARGE = (".parquet", ".mp4")

Tree = dict[str, bytes]


@dataclass
class HubRepository:
    """The trees of all commits of main, and what the tags point at."""

    private: bool = False
    commits: dict[str, Tree] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    tagged: list[Tree] = field(default_factory=list)
    """Every tree that a tag was put on, in order."""

    @property
    def head(self) -> str:
        return list(self.commits)[-1]

    def add(self, tree: Tree) -> str:
        name = f"{len(self.commits):040x}"
        self.commits[name] = tree
        return name

    def revision(self, name: str) -> str:
        return {"main": self.head, **self.tags}.get(name, name)


class UploadHub(ThreadingHTTPServer):
    """`repositories` by name; `received` are the hashes of the large files in the order of their
    transfers. The transfer of number `hold_at` is not answered: `held` is set, and it waits for
    `go_on`."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.repositories: dict[str, HubRepository] = {}
        self.objects: dict[str, bytes] = {}
        self.received: list[str] = []
        self.transfers = 0
        self.hold_at = -1
        self.held, self.go_on = threading.Event(), threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def make(self, name: str, *, private: bool) -> HubRepository:
        self.repositories[name] = HubRepository(private)
        self.repositories[name].add({".gitattributes": b"*.parquet filter=lfs\n"})
        return self.repositories[name]


@contextmanager
def upload_hub() -> Iterator[UploadHub]:
    """A hub that serves until the end."""
    hub = UploadHub()
    thread = threading.Thread(target=hub.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        hub.go_on.set()
        hub.shutdown()
        hub.server_close()
        thread.join()


class _Answer(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: UploadHub

    def log_message(self, *_: object) -> None:
        """Nothing on the terminal."""

    def do_HEAD(self) -> None:
        self._handle()

    def do_GET(self) -> None:
        self._handle()

    def do_POST(self) -> None:
        self._handle()

    def do_PUT(self) -> None:
        self._handle()

    def do_DELETE(self) -> None:
        self._handle()

    def _handle(self) -> None:
        length = int(self.headers.get("Content-Length", 0))
        try:
            body = self.rfile.read(length)
        except ConnectionError:
            body = b""
        if len(body) < length:  # the uploading process was killed
            self.close_connection = True
            return
        words = [unquote(word) for word in urlsplit(self.path).path.strip("/").split("/")]
        if words[0] == "objects" and self.command == "PUT":
            self._store(words[1], body)
        elif words[:2] == ["api", "validate-yaml"]:
            self._json({"warnings": [], "errors": []})
        elif words[:2] == ["api", "repos"]:
            self._create(json.loads(body))
        elif words[0] == "datasets" and words[3:] == ["info", "lfs", "objects", "batch"]:
            self._batch(json.loads(body)["objects"])
        elif words[0] == "datasets":
            self._file("/".join(words[1:3]), words[4], "/".join(words[5:]))
        else:
            self._of_repository("/".join(words[2:4]), words[4:], body)

    def _of_repository(self, name: str, words: list[str], body: bytes) -> None:
        found = self.server.repositories.get(name)
        if found is None:
            self._refuse(404, "RepoNotFound", "Repository not found")
            return
        match self.command, words:
            case "GET", [] | ["revision", _]:
                at = found.revision(words[1] if words else "main")
                siblings = [{"rfilename": path} for path in found.commits.get(at, {})]
                self._json({"id": name, "sha": at, "private": found.private, "siblings": siblings})
            case "GET", ["tree", revision, *_]:
                tree = found.commits[found.revision(revision)]
                self._json([_entry(path, content) for path, content in tree.items()])
            case "GET", ["refs"]:
                branches = [{"name": "main", "ref": "refs/heads/main", "targetCommit": found.head}]
                tags = [
                    {"name": tag, "ref": f"refs/tags/{tag}", "targetCommit": commit}
                    for tag, commit in found.tags.items()
                ]
                self._json({"branches": branches, "converts": [], "tags": tags})
            case "POST", _ if not self._may_write(name):
                self._refuse(403, "Forbidden", "you have no right to write here")
            case "POST", ["preupload", _]:
                modes = [
                    {
                        "path": each["path"],
                        "uploadMode": "lfs" if each["path"].endswith(_LARGE) else "regular",
                        "shouldIgnore": False,
                    }
                    for each in json.loads(body)["files"]
                ]
                self._json({"files": modes})
            case "POST", ["commit", "main"]:
                self._commit(name, found, [json.loads(line) for line in body.splitlines()])
            case "POST", ["tag", revision]:
                found.tags[json.loads(body)["tag"]] = found.revision(revision)
                found.tagged.append(found.commits[found.revision(revision)])
                self._json({})
            case "DELETE", ["tag", tag]:
                del found.tags[tag]
                self._json({})
            case _:
                self._refuse(400, "BadRequest", f"{self.command} {self.path}")

    def _create(self, asked: dict[str, Any]) -> None:
        name = f"{asked['organization']}/{asked['name']}"
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            self._refuse(401, "", "Invalid username or password.")
        elif not self._may_write(name):
            self._refuse(403, "", f"You don't have the rights to create a dataset under {name}")
        elif name in self.server.repositories:
            url = {"url": f"{self.server.url}/datasets/{name}", "error": "You already created it"}
            self._send(409, json.dumps(url).encode(), {})
        else:
            self.server.make(name, private=asked.get("visibility") == "private")
            self._json({"url": f"{self.server.url}/datasets/{name}"})

    def _may_write(self, name: str) -> bool:
        return self.headers.get("Authorization") == f"Bearer {TOKEN}" and name.startswith("lab/")

    def _batch(self, objects: list[dict[str, Any]]) -> None:
        for each in objects:
            if each["oid"] not in self.server.objects:
                href = f"{self.server.url}/objects/{each['oid']}"
                each["actions"] = {"upload": {"href": href}}
        self._json({"transfer": "basic", "objects": objects})

    def _store(self, oid: str, body: bytes) -> None:
        hub = self.server
        hub.transfers += 1
        if hub.transfers - 1 == hub.hold_at:
            hub.held.set()
            hub.go_on.wait(300)
            if self._is_gone():
                return
        if hashlib.sha256(body).hexdigest() != oid:
            self._refuse(400, "", "another content")
            return
        hub.objects[oid] = body
        hub.received.append(oid)
        self._json({})

    def _is_gone(self) -> bool:
        """Whether the other end has closed the connection: it was killed."""
        self.connection.settimeout(0.2)
        try:
            return not self.connection.recv(1)
        except TimeoutError:
            return False
        except OSError:
            return True

    def _commit(self, name: str, found: HubRepository, lines: list[dict[str, Any]]) -> None:
        tree = dict(found.commits[found.head])
        for line in lines:
            value = line["value"]
            if line["key"] == "file":
                tree[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                if value["oid"] not in self.server.objects:
                    self._refuse(400, "", f"{value['path']} was not sent")
                    return
                tree[value["path"]] = self.server.objects[value["oid"]]
        commit = found.add(tree)
        url = f"{self.server.url}/datasets/{name}/commit/{commit}"
        self._json({"success": True, "commitOid": commit, "commitUrl": url})

    def _file(self, name: str, revision: str, path: str) -> None:
        found = self.server.repositories[name]
        commit = found.revision(revision)
        content = found.commits.get(commit, {}).get(path)
        if content is None:
            self._refuse(404, "EntryNotFound", path)
            return
        etag = f'"{hashlib.sha256(content).hexdigest()}"'
        self._send(200, content, {"ETag": etag, "X-Repo-Commit": commit})

    def _json(self, value: object) -> None:
        self._send(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _refuse(self, status: int, code: str, message: str) -> None:
        headers = {"X-Error-Message": message} | ({"X-Error-Code": code} if code else {})
        self._send(status, b"", headers)

    def _send(self, status: int, content: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)


def _entry(path: str, content: bytes) -> dict[str, Any]:
    blob = hashlib.sha1(b"blob %d\0%b" % (len(content), content), usedforsecurity=False).hexdigest()
    entry: dict[str, Any] = {"type": "file", "path": path, "size": len(content), "oid": blob}
    if path.endswith(_LARGE):
        oid = hashlib.sha256(content).hexdigest()
        entry["lfs"] = {"oid": oid, "size": len(content), "pointerSize": 130}
    return entry
