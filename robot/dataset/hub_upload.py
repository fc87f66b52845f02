"""`HubUpload`: brings a dataset's finished episodes to a repository of the Hugging Face hub.

Videos and rows go first, in commits of some files each; then meta in one commit, info.json in it;
then the tag by which LeRobot finds the version is moved to it: who loads the tag has the whole of
one upload at any time. It asks the hub what is there and sends what is missing or differs, so that
a killed upload continues with the next run. Files go one after the other.

Not guaranteed: anything of an episode in progress; what other writers of the repository do at the
same time. A token is read by huggingface_hub from its own places.

Source: huggingface_hub's `create_commit` and `preupload_lfs_files`, and lerobot 0.6.1's
`LeRobotDataset.push_to_hub` and `get_safe_version` for the tag.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ...errors import DatasetError
from . import recovery
from .dataset_info import INFO, STATS, TASKS, VERSION, read_info
from .dataset_reader import episode_entries, episode_files
from .dataset_writer import alone, locked
from .file_hashes import FileHashes, same_content
from .paced_file import PacedFile

if TYPE_CHECKING:
    from huggingface_hub import CommitOperationAdd, HfApi
    from huggingface_hub.hf_api import RepoFile

_CARD = "README.md"
_FILES_PER_COMMIT = 50


class UploadProgress(NamedTuple):
    """Of `files` that the hub lacks, and their bytes, how much is sent; `episodes` are in the
    dataset."""

    sent: int
    files: int
    sent_bytes: int
    size_bytes: int
    episodes: int


@dataclass(frozen=True)
class _Snapshot:
    """The finished episodes of an instant: `content` are the paths of videos and rows, `rows` of
    meta/episodes; `meta` has the contents of the files that the next episode replaces."""

    episodes: int
    content: list[str]
    rows: list[str]
    meta: dict[str, bytes]


@dataclass
class _Sent:
    report: Callable[[UploadProgress], None]
    progress: UploadProgress

    def add(self, files: int, size_bytes: int) -> None:
        before = self.progress
        self.progress = before._replace(
            sent=before.sent + files, sent_bytes=before.sent_bytes + size_bytes
        )
        self.report(self.progress)


class HubUpload:
    """Of the dataset in `root` to the repository `repo_id`, which is made if absent: private, or as
    the account's default is. `mbit_s` bounds the files' transfer, in megabits a second. `report`
    is called with the progress at the start and after each file; `pause` before each file and each
    of its blocks: the upload goes on when it returns. `waits`: for another upload of the same
    dataset, which is an error without."""

    def __init__(
        self,
        root: Path,
        repo_id: str,
        *,
        private: bool = False,
        mbit_s: float | None = None,
        report: Callable[[UploadProgress], None] = lambda _: None,
        pause: Callable[[], Any] = lambda: None,
        waits: bool = False,
    ) -> None:
        self._pause, self._waits = pause, waits
        self.root, self.repo_id = root.expanduser(), repo_id
        self._private, self._mbit_s, self._report = private, mbit_s, report

    def run(self) -> UploadProgress:
        """Send what the hub lacks. Raises HubUnreachableError where a later call may succeed;
        DatasetError: no dataset, an upload of it in progress, no right to the repository, or
        another dataset in it; OSError where a file cannot be read."""
        read_info(self.root)
        if self.repo_id.count("/") != 1:
            raise DatasetError(f"{self.repo_id!r} is no name of a repository, such as lab/pick")
        # Before the import, which reads it. Xet's transfer takes all processors and as much of the
        # network as there is, and cannot be paced.
        os.environ["HF_HUB_DISABLE_XET"] = "1"
        try:
            import huggingface_hub
            from huggingface_hub.utils.tqdm import disable_progress_bars

            from .hub_errors import translated
        except ModuleNotFoundError as error:
            raise DatasetError(
                f"an upload needs {error.name}: `pip install 'holdfast[data,hub]'`"
            ) from error
        disable_progress_bars()
        api = huggingface_hub.HfApi(library_name="holdfast")
        with (
            alone(self.root, "upload.lock", "uploads", waits=self._waits),
            translated(self.repo_id),
        ):
            return self._run(api)

    def _run(self, api: HfApi) -> UploadProgress:
        here = _snapshot(self.root)
        if not here.episodes:
            return UploadProgress(0, 0, 0, 0, 0)
        self._make_repo(api)
        there = self._there(api)
        hashes = FileHashes(self.root)
        self._refuse_another(there, here, hashes)
        content = [path for path in here.content if not hashes.same(path, there.get(path))]
        rows = [path for path in here.rows if not hashes.same(path, there.get(path))]
        hashes.keep()
        meta = {n: c for n, c in here.meta.items() if not same_content(c, there.get(n))}
        if _CARD not in there:
            meta[_CARD] = _card(self.root.resolve().name)
        sizes = [(self.root / path).stat().st_size for path in (*content, *rows)]
        size_bytes = sum(sizes) + sum(map(len, meta.values()))
        files = len(sizes) + len(meta)
        sent = _Sent(self._report, UploadProgress(0, files, 0, size_bytes, here.episodes))
        sent.add(0, 0)
        for first in range(0, len(content), _FILES_PER_COMMIT):
            self._commit(api, content[first : first + _FILES_PER_COMMIT], {}, sent)
        if rows or meta:
            self._commit(api, rows, meta, sent)
        self._tag(api)
        return sent.progress

    def _make_repo(self, api: HfApi) -> None:
        api.create_repo(
            self.repo_id, repo_type="dataset", private=self._private or None, exist_ok=True
        )
        if self._private and not api.repo_info(self.repo_id, repo_type="dataset").private:
            raise DatasetError(
                f"{self.repo_id} exists and is public, and this upload is to be private: make it "
                "private on the hub, or name another repository"
            )

    def _there(self, api: HfApi) -> dict[str, RepoFile]:
        from huggingface_hub.hf_api import RepoFile

        tree = api.list_repo_tree(self.repo_id, repo_type="dataset", recursive=True)
        return {each.path: each for each in tree if isinstance(each, RepoFile)}

    def _refuse_another(
        self, there: dict[str, RepoFile], here: _Snapshot, hashes: FileHashes
    ) -> None:
        """Files that this dataset lacks, or a first episode that differs, are of another one."""
        ours = {*here.content, *here.rows}
        kinds = ("data/", "videos/", "meta/episodes/")
        other = sorted(path for path in there if path.startswith(kinds) and path not in ours)
        first = next(path for path in here.content if path.startswith("data/"))
        if not other and first in there and not hashes.same(first, there[first]):
            other = [first]
        if other:
            raise DatasetError(
                f"{self.repo_id} holds another dataset: its {other[0]} is not that of {self.root}; "
                "upload to another repository, or delete what is there"
            )

    def _commit(
        self, api: HfApi, paths: list[str], contents: dict[str, bytes], sent: _Sent
    ) -> None:
        """One commit. Its large files are sent before, one by one: a killed upload does not send
        them again."""
        from huggingface_hub import CommitOperationAdd

        operations = []
        for path in paths:
            self._pause()
            operations.append(self._send(api, path))
            sent.add(1, (self.root / path).stat().st_size)
        for path, content in contents.items():
            operations.append(CommitOperationAdd(path_in_repo=path, path_or_fileobj=content))
        api.create_commit(
            self.repo_id,
            operations,
            commit_message=f"{sent.progress.episodes} episodes"
            if contents
            else f"{len(paths)} files",
            repo_type="dataset",
            num_threads=1,
        )
        if contents:
            sent.add(len(contents), sum(map(len, contents.values())))

    def _send(self, api: HfApi, path: str) -> CommitOperationAdd:
        from huggingface_hub import CommitOperationAdd

        with PacedFile(self.root / path) as file:
            operation = CommitOperationAdd(path_in_repo=path, path_or_fileobj=file)
            # From here on: to be hashed, it has been read already.
            file.pace(self._mbit_s, self._pause)
            api.preupload_lfs_files(
                self.repo_id, [operation], repo_type="dataset", num_threads=1, free_memory=False
            )
        operation.path_or_fileobj = str(self.root / path)  # a small one goes with the commit
        return operation

    def _tag(self, api: HfApi) -> None:
        """Move the tag to what main is."""
        refs = api.list_repo_refs(self.repo_id, repo_type="dataset")
        head = next((each.target_commit for each in refs.branches if each.name == "main"), None)
        at = next((each.target_commit for each in refs.tags if each.name == VERSION), None)
        if at == head:
            return
        if at is not None:
            api.delete_tag(self.repo_id, tag=VERSION, repo_type="dataset")
        api.create_tag(self.repo_id, tag=VERSION, repo_type="dataset")


def _snapshot(root: Path) -> _Snapshot:
    """Episodes are read after the lock is released: a writer may wait for it."""
    with locked(root):
        recovery.redo(root)
        info = read_info(root)
        rows = episode_files(root)
        meta = {
            name: (root / name).read_bytes()
            for name in (STATS, TASKS, INFO)
            if (root / name).exists()
        }
    entries = [each for each in episode_entries(info, rows) if each.index < info.total_episodes]
    if len(entries) != info.total_episodes:
        raise DatasetError(f"{root} lacks episodes: `actorctl dataset repair` first")
    content = {entry.data for entry in entries}
    content |= {span.path for entry in entries for span in entry.videos.values()}
    paths = [path.relative_to(root).as_posix() for path in rows]
    return _Snapshot(info.total_episodes, sorted(content), paths, meta)


def _card(name: str) -> bytes:
    files = "configs:\n- config_name: default\n  data_files: data/*/*.parquet\n"
    about = f"A LeRobotDataset {VERSION}, recorded with Holdfast.\n"
    return f"---\ntags:\n- LeRobot\n{files}---\n\n# {name}\n\n{about}".encode()
