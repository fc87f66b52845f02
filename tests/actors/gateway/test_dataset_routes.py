"""Recorded datasets over HTTP: the same handlers in the gateway and in `actorctl dataset view`."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from holdfast.actors.gateway import file_response
from holdfast.robot.dataset.dataset_reader import Dataset
from holdfast.robot.dataset.video_archive import VideoArchive
from holdfast.tests.actors.gateway.running_gateway import Gateway
from holdfast.tests.robot.dataset import recordings
from holdfast.tests.waiting import wait_until

TOP = "observation.images.top"
VIDEO = f"/api/datasets/pick/episodes/1/video/{TOP}"


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("datasets") / "pick"
    recordings.dataset(root, lengths=(5, 8, 4))
    return root


@pytest.fixture
def site(recorded: Path, make_gateway: Callable[..., Gateway], tmp_path: Path) -> Gateway:
    """A gateway of a fleet that records to two datasets, of which one has no episode yet."""
    return make_gateway(datasets={"pick": str(recorded), "place": str(tmp_path / "place")})


def told(site: Gateway, path: str) -> Any:
    status, _, body = site.get(path)
    assert status == 200, body
    return json.loads(body)


def test_the_datasets_are_listed_and_one_that_is_not_there_yet_says_so(site: Gateway) -> None:
    """Each row has what the dataset holds."""
    pick, place = told(site, "/api/datasets")["datasets"]
    assert (pick["name"], pick["episodes"], pick["frames"]) == ("pick", 3, 17)
    assert pick["cameras"] == ["top", "wrist"] and pick["fault"] == ""
    assert "no such directory" in place["fault"]
    assert told(site, "/api/datasets/pick")["tasks"] == ["task 0", "task 1", "task 2"]


def test_episodes_come_in_pages_and_by_filters(site: Gateway) -> None:
    """`next` is where the next page begins."""
    path = "/api/datasets/pick/episodes"
    page = told(site, f"{path}?limit=2")
    assert [each["episode"] for each in page["episodes"]] == [0, 1]
    assert (page["next"], page["total"]) == (2, 3)
    page = told(site, f"{path}?limit=2&from=2")
    assert [each["frames"] for each in page["episodes"]] == [4] and page["next"] is None
    for filters, expected in (
        ("success=yes", [1]),
        ("success=no", [0, 2]),
        ("success=unjudged", []),
        ("intervention=yes", [0, 1, 2]),
        ("intervention=no", []),
        ("task=TASK%202", [2]),
        ("success=no&task=task+0", [0]),
    ):
        found = told(site, f"{path}?{filters}")["episodes"]
        assert [each["episode"] for each in found] == expected, filters


@pytest.mark.parametrize(
    ("path", "status", "why"),
    [
        ("/api/datasets/none", 404, "no dataset 'none': this host records to pick, place"),
        ("/api/datasets/place/episodes", 404, "no such directory"),
        ("/api/datasets/pick/episodes/3", 404, "no episode 3: it has 3"),
        ("/api/datasets/pick/episodes/-1", 404, "expected a number"),
        ("/api/datasets/pick/episodes/1e3/rows", 404, "expected a number"),
        ("/api/datasets/pick/episodes?success=maybe", 400, "expected yes, no, unjudged"),
        ("/api/datasets/pick/episodes?intervention=2", 400, "expected yes, no"),
        ("/api/datasets/pick/episodes?from=x", 400, "from is 'x', expected a number"),
        ("/api/datasets/pick/episodes?limit=", 400, "limit is '', expected a number"),
        ("/api/datasets/pick/episodes/1/rows?from=-1", 400, "from is '-1', expected a number"),
        ("/api/datasets/none/episodes?limit=", 404, "no dataset 'none'"),
        ("/api/datasets/pick/episodes/1/video/other", 404, "no video of 'other'"),
        ("/api/datasets/pick/meta/info.json", 404, "nothing of a dataset"),
    ],
)
def test_what_is_not_there_is_404_and_a_wrong_parameter_400_with_the_reason(
    site: Gateway, path: str, status: int, why: str
) -> None:
    """In words that say what was found and what was expected."""
    found, _, body = site.get(path)
    assert found == status
    assert why in body.decode()


def test_the_rows_of_an_episode_are_its_columns(site: Gateway, recorded: Path) -> None:
    """From any row on; sessions are words, because a number in JavaScript has 53 bits."""
    episode = Dataset(recorded).episode(1)
    whole = told(site, "/api/datasets/pick/episodes/1/rows")
    assert whole["total"] == 8
    columns = whole["columns"]
    assert columns["state"] == episode.states.tolist()
    assert columns["action"] == episode.actions.tolist()
    assert columns["intervention"] == episode.column("intervention").tolist()
    assert columns["session"] == ["7"] * 8
    assert columns["seq"] == [0, 0, 0, 1, 1, 1, 2, 2]
    assert columns["step"] == [0, 1, 2, 0, 1, 2, 0, 1]
    assert columns["behind_ms"] == [[0.0, 0.0]] * 8
    later = told(site, "/api/datasets/pick/episodes/1/rows?from=6")
    assert later["columns"]["step"] == [0, 1] and later["start"] == 6


def test_a_video_needs_the_token_or_the_ticket_of_its_own_path(site: Gateway) -> None:
    """A ticket opens no other video, and nothing else."""
    cameras = told(site, "/api/datasets/pick/episodes/1")["cameras"]
    address = f"/{cameras[0]['url']}"
    assert address.startswith(quote(VIDEO))
    assert site.request("GET", address)[0] == 200
    assert site.request("GET", VIDEO)[0] == 401
    ticket = address.partition("?")[2]
    for other in (VIDEO.replace("/1/", "/0/"), "/api/datasets/pick", "/api/status"):
        assert site.request("GET", f"{other}?{ticket}")[0] == 401
    assert site.request("POST", address)[0] == 401
    assert site.request("GET", f"{VIDEO}?ticket=")[0] == 401
    assert site.request("GET", address, {"host": "evil.example"})[0] == 421


def test_a_video_comes_whole_or_by_ranges_of_its_bytes(
    site: Gateway, recorded: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """206 and 416 with the positions, as RFC 9110 has them; HEAD has the length of the whole."""
    monkeypatch.setattr(file_response, "PIECE", 100)
    path = recorded / f"videos/{TOP}/chunk-000/file-001.mp4"
    content = path.read_bytes()
    size = len(content)
    status, headers, body = site.get(VIDEO)
    assert (status, body) == (200, content)
    assert headers["accept-ranges"] == "bytes" and headers["content-type"] == "video/mp4"
    tag = headers["etag"]
    for said, found in (("0-", content), ("7-456", content[7:457]), ("-50", content[-50:])):
        status, headers, body = site.get(VIDEO, range=f"bytes={said}", **{"if-range": tag})
        assert (status, body) == (206, found)
        first = content.index(found)
        assert headers["content-range"] == f"bytes {first}-{first + len(found) - 1}/{size}"
    status, headers, _ = site.get(VIDEO, range=f"bytes={size}-")
    assert (status, headers["content-range"]) == (416, f"bytes */{size}")
    assert site.get(VIDEO, range="bytes=0-5", **{"if-range": '"other"'})[2] == content
    assert site.get(VIDEO, **{"if-none-match": tag})[0] == 304
    status, headers, body = site.request("HEAD", VIDEO, {**site.bearer, "range": "bytes=0-5"})
    assert (status, headers["content-length"], body) == (200, str(size), b"")


@pytest.mark.parametrize(
    "path",
    [
        "/api/datasets/../../etc/passwd",
        "/api/datasets/pick/../place",
        "/api/datasets/pick%2F..%2F..%2Fetc",
        "/api/datasets/pick/episodes/1/video/..",
        "/api/datasets/pick/episodes/1/video/..%2F..%2Fmeta%2Finfo.json",
        "/api/datasets//etc/passwd",
    ],
)
def test_no_path_leaves_the_dataset(site: Gateway, path: str) -> None:
    """Names, numbers and cameras are looked up, never joined to a path."""
    status, _, body = site.get(path)
    assert status == 404
    assert b"root:" not in body and b"codebase_version" not in body


def test_a_video_that_is_a_link_out_of_the_dataset_is_not_served(
    recorded: Path, make_gateway: Callable[..., Gateway], tmp_path: Path
) -> None:
    """Nor one that info.json's own template places outside, nor one that is missing."""
    root = tmp_path / "pick"
    shutil.copytree(recorded, root)
    site = make_gateway(datasets={"pick": str(root)})
    video = root / f"videos/{TOP}/chunk-000/file-001.mp4"
    secret = tmp_path / "secret"
    video.rename(secret)
    assert "is missing" in site.get(VIDEO)[2].decode()
    video.symlink_to(secret)
    status, _, body = site.get(VIDEO)
    assert status == 404 and b"outside the dataset" in body
    info = root / "meta/info.json"
    text = info.read_text().replace("videos/{video_key}/", "../{video_key}/../")
    info.write_text(text)
    status, _, body = site.get(VIDEO)
    assert status == 404 and b"outside the dataset" in body


def test_a_file_that_becomes_shorter_ends_the_connection_and_no_more(
    recorded: Path,
    make_gateway: Callable[..., Gateway],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its length was announced: the client sees that bytes are missing; the server goes on."""
    root = tmp_path / "pick"
    shutil.copytree(recorded, root)
    site = make_gateway(datasets={"pick": str(root)})
    video = root / f"videos/{TOP}/chunk-000/file-001.mp4"
    real = file_response._read

    def cut(file: Any, at: int, count: int) -> bytes:
        video.write_bytes(video.read_bytes()[:10])
        return real(file, at, count)

    monkeypatch.setattr(file_response, "_read", cut)
    with pytest.raises(Exception, match="IncompleteRead"):
        site.get(VIDEO)
    wait_until(lambda: site.get("/healthz")[0] == 200, "the server goes on")


def test_images_that_are_stored_in_the_rows_are_served_one_by_one(
    make_gateway: Callable[..., Gateway], tmp_path: Path
) -> None:
    """As they are stored, with the token; a frame or a camera that there is not is refused."""
    root = tmp_path / "stored"
    recordings.dataset(root, recordings.BLIND, (3, 4))
    recordings.store_images(root)
    site = make_gateway(datasets={"stored": str(root)})
    path = "/api/datasets/stored/episodes/1"
    (camera,) = told(site, path)["cameras"]
    assert (camera["stored"], camera["url"], camera["shape"]) == (True, None, [24, 32, 3])
    wanted = [value["bytes"] for value in Dataset(root).episode(1).column(recordings.FRONT)]
    for frame, content in enumerate(wanted):
        status, headers, body = site.get(f"{path}/image/{recordings.FRONT}/{frame}")
        assert (status, body) == (200, content)
        assert headers["content-type"] == "image/png"
    assert site.request("GET", f"{path}/image/{recordings.FRONT}/0")[0] == 401
    for wrong, why in (
        (f"{recordings.FRONT}/4", "has no frame 4: it has 4"),
        (f"{recordings.FRONT}/x", "expected a number"),
        ("action/0", "no stored images of 'action'"),
    ):
        status, _, body = site.get(f"{path}/image/{wrong}")
        assert status == 404
        assert why in body.decode()


def test_a_video_s_codec_is_that_of_its_own_file(
    make_gateway: Callable[..., Gateway], tmp_path: Path
) -> None:
    """Of a dataset that is transcoded in part, each episode says its own."""
    root = tmp_path / "mixed"
    recordings.dataset(root, recordings.SMALL, (3,))
    VideoArchive(root).run()
    recordings.add_episode(root, recordings.SMALL, 1)
    site = make_gateway(datasets={"mixed": str(root)})
    found = [told(site, f"/api/datasets/mixed/episodes/{k}")["cameras"][0]["codec"] for k in (0, 1)]
    assert found == ["av1", "h264"]
