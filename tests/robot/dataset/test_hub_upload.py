"""`actorctl dataset upload` to a hub on loopback: what is sent, resumed, refused."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import count, repeat
from pathlib import Path

import pytest

from holdfast.robot.dataset.verification import verify
from holdfast.tests.peers.environments import interpreter_of

from . import recordings
from .recordings import SMALL
from .upload_hub import TOKEN, Tree, UploadHub, upload_hub

Upload = Callable[..., "subprocess.Popen[str]"]
COMMAND = [sys.executable, "-m", "holdfast.tools.cli.actorctl", "dataset", "upload"]
WRONG, UNSENDABLE = "hf_wrong", "hf_s\xe9cret"
OF_AN_EPISODE = 3
"""Large files: rows, one video, meta/episodes."""


@pytest.fixture
def hub() -> Iterator[UploadHub]:
    with upload_hub() as hub:
        yield hub


@pytest.fixture
def root(tmp_path: Path) -> Path:
    recordings.dataset(tmp_path / "pick", SMALL, (3, 4))
    return tmp_path / "pick"


@pytest.fixture
def upload(root: Path, hub: UploadHub, tmp_path: Path) -> Iterator[Upload]:
    """Start the command: `upload(*options, repo="lab/pick", path=root, **environment)`."""
    started: list[subprocess.Popen[str]] = []

    def start(
        *options: str, repo: str = "lab/pick", path: Path = root, **environment: str
    ) -> subprocess.Popen[str]:
        plain = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
        variables = {
            **plain,
            "HF_HOME": str(tmp_path / "huggingface"),
            "HF_ENDPOINT": hub.url,
            "HF_TOKEN": TOKEN,
            "NO_PROXY": "127.0.0.1",
            **environment,
        }
        started.append(
            subprocess.Popen(
                [*COMMAND, str(path), "--repo-id", repo, *options],
                env=variables,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


def done(process: subprocess.Popen[str]) -> str:
    """What it printed, of a command that has sent all."""
    out, error = process.communicate(timeout=300)
    assert process.returncode == 0, error
    return out


def refused(process: subprocess.Popen[str], status: int) -> str:
    """The one sentence of a command that ends with this status."""
    out, error = process.communicate(timeout=300)
    assert process.returncode == status, error
    assert not out
    assert TOKEN not in error
    assert len(error.splitlines()) == 1
    return error


def copy_of(root: Path, number: int) -> Path:
    """Of the same content: uploads of one dataset would refuse each other."""
    return shutil.copytree(root, root.with_name(f"copy-{number}"))


def assert_whole(tree: Tree, folder: Path, episodes: int) -> None:
    """Written to a folder, it is a dataset without a fault."""
    for path, content in tree.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    found = verify(folder)
    assert found.whole, found
    assert found.info.total_episodes == episodes


def test_a_second_upload_sends_the_new_episode_only(
    upload: Upload, hub: UploadHub, root: Path, tmp_path: Path
) -> None:
    """Each of the trees that had the tag is a whole dataset; without anything new, none is made."""
    said = done(upload())
    assert "0 of 10 files" in said  # tasks, two of JSON and a card beside those of the episodes
    assert "lab/pick has all 2 episodes" in said
    first = len(hub.received)
    assert first == 2 * OF_AN_EPISODE + 1
    recordings.add_episode(root, SMALL, 2)
    assert "has all 3 episodes" in done(upload())
    assert len(hub.received) - first == OF_AN_EPISODE + 1
    assert "nothing was to be sent" in done(upload())
    found = hub.repositories["lab/pick"]
    assert found.tags == {"v3.0": found.head}
    for number, tree in enumerate(found.tagged):
        assert_whole(tree, tmp_path / str(number), episodes=number + 2)
    assert len(found.tagged) == 2
    assert not [path for path in found.tagged[-1] if path.startswith(".recording")]


@pytest.mark.parametrize("hold_at", [0, 3, 2 * OF_AN_EPISODE])
def test_an_upload_that_is_killed_sends_no_file_twice(
    hold_at: int, upload: Upload, hub: UploadHub, tmp_path: Path
) -> None:
    """What is left goes with the next run; until then, nothing has the tag."""
    hub.hold_at = hold_at
    killed = upload()
    assert hub.held.wait(300)
    killed.kill()
    killed.wait()
    hub.go_on.set()
    found = hub.repositories["lab/pick"]
    assert not found.tags
    assert "meta/info.json" not in found.commits[found.head]
    done(upload())
    assert len(hub.received) == len(set(hub.received)) == 2 * OF_AN_EPISODE + 1
    assert_whole(found.tagged[-1], tmp_path / "hub", episodes=2)


def test_an_upload_is_of_the_episodes_that_were_finished_when_it_began(
    upload: Upload, hub: UploadHub, root: Path, tmp_path: Path
) -> None:
    """An episode that is saved meanwhile stays out; a second upload is refused meanwhile."""
    hub.hold_at = 1
    first = upload()
    assert hub.held.wait(300)
    recordings.add_episode(root, SMALL, 2)
    assert "another process uploads" in refused(upload(), 2)
    hub.go_on.set()
    assert "has all 2 episodes" in done(first)
    assert_whole(hub.repositories["lab/pick"].tagged[-1], tmp_path / "hub", episodes=2)


def test_a_refusal_is_one_sentence_that_says_what_to_do(
    upload: Upload, hub: UploadHub, root: Path, tmp_path: Path
) -> None:
    """Tokens, rights, names, no dataset, another dataset there, a public repository."""
    (tmp_path / "empty").mkdir()
    other = hub.make("lab/other", private=False)
    other.add({"data/chunk-000/file-000.parquet": b"another"})
    hub.make("lab/public", private=False)
    copies = map(copy_of, repeat(root), count())
    cases = {
        "needs a token, and there is none: log in": upload(path=next(copies), HF_TOKEN=""),
        "does not accept the token": upload(path=next(copies), HF_TOKEN=WRONG),
        "no right to write to company/pick": upload(path=next(copies), repo="company/pick"),
        "'lab/pick/left' is no name": upload(path=next(copies), repo="lab/pick/left"),
        "'pick' is no name of a repository": upload(path=next(copies), repo="pick"),
        "it has no meta/info.json": upload(path=tmp_path / "empty"),
        "no such directory": upload(path=tmp_path / "absent"),
        "lab/other holds another dataset": upload(path=next(copies), repo="lab/other"),
        "exists and is public": upload("--private", path=next(copies), repo="lab/public"),
    }
    for sentence, process in cases.items():
        error = refused(process, 2)
        assert sentence in error
        assert WRONG not in error
    assert not hub.received


def test_an_absent_network_is_status_1_and_says_that_the_upload_can_go_on(
    upload: Upload, root: Path
) -> None:
    """Nothing listens, or no network is to be used; nor is a token printed that cannot be sent."""
    copies = map(copy_of, repeat(root), count())
    absent = upload(path=next(copies), HF_ENDPOINT="http://127.0.0.1:9")
    offline = upload(path=next(copies), HF_HUB_OFFLINE="1")
    unsendable = upload(path=next(copies), HF_TOKEN=UNSENDABLE)
    error = refused(absent, 1)
    assert "http://127.0.0.1:9 is not reachable" in error
    assert "the same command continues the upload" in error
    assert "HF_HUB_OFFLINE" in refused(offline, 1)
    out, error = unsendable.communicate(timeout=300)
    assert unsendable.returncode in {1, 2}
    assert "cret" not in out + error


def test_a_private_upload_makes_a_private_repository_at_a_bounded_rate(
    upload: Upload, hub: UploadHub
) -> None:
    """The command has the lowest priority; every file arrives as without a bound."""
    hub.hold_at = 0
    running = upload("--private", "--max-mbps", "50")
    assert hub.held.wait(300)
    assert os.getpriority(os.PRIO_PROCESS, running.pid) == 19
    hub.go_on.set()
    done(running)
    assert hub.repositories["lab/pick"].private
    assert len(hub.received) == 2 * OF_AN_EPISODE + 1


@pytest.mark.slow
def test_lerobot_loads_what_was_uploaded(upload: Upload, hub: UploadHub, tmp_path: Path) -> None:
    """By its name, through the library's own download."""
    python = interpreter_of("lerobot-0.6")
    done(upload())
    program = (
        "import json, sys\n"
        "from lerobot.datasets.lerobot_dataset import LeRobotDataset\n"
        "dataset = LeRobotDataset('lab/pick', root=sys.argv[1], video_backend='pyav')\n"
        "picture = dataset[6]['observation.images.top']\n"
        "print(json.dumps([dataset.num_episodes, len(dataset), list(picture.shape)]))\n"
    )
    environment = {
        **os.environ,
        "HF_HOME": str(tmp_path / "lerobot"),
        "HF_ENDPOINT": hub.url,
        "HF_HUB_OFFLINE": "0",
        "NO_PROXY": "127.0.0.1",
    }
    loaded = subprocess.run(
        [python, "-c", program, str(tmp_path / "downloaded")],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert loaded.returncode == 0, loaded.stderr[-2000:]
    assert json.loads(loaded.stdout.splitlines()[-1]) == [2, 7, [3, 16, 16]]
