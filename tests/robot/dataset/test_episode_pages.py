"""The list of a dataset's episodes, page by page, beside that which reads all."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from holdfast.errors import DatasetError
from holdfast.robot.dataset import episode_pages
from holdfast.robot.dataset.dataset_reader import Dataset, episode_files
from holdfast.robot.dataset.episode_pages import EpisodeFilter, EpisodePages, EpisodeSummary
from holdfast.tests.robot.dataset import recordings

LENGTHS = (3, 5, 4, 6, 3, 3, 9)
ANY = EpisodeFilter()


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of meta/episodes for each episode."""
    root = tmp_path_factory.mktemp("pages") / "ours"
    recordings.dataset(root, lengths=LENGTHS)
    return root


@pytest.fixture(params=[64, 2])
def few(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Up to how many rows a file is kept as rows, not as a table."""
    monkeypatch.setattr(episode_pages, "_ROWS", request.param)
    episode_pages._short.cache_clear()


@pytest.fixture(scope="module")
def theirs(ours: Path) -> Path:
    """The same in two files of meta/episodes, as lerobot has them."""
    root = ours.parent / "theirs"
    shutil.copytree(ours, root)
    files = episode_files(root)
    for group in (files[:4], files[4:]):
        table = pa.concat_tables(pq.read_table(path) for path in group)
        for path in group:
            path.unlink()
        pq.write_table(table, group[0])
    return root


def walk(pages: EpisodePages, limit: int, wanted: EpisodeFilter) -> Iterator[EpisodeSummary]:
    start: int | None = 0
    while start is not None:
        page = pages.page(start, limit, wanted)
        assert len(page.episodes) <= limit
        yield from page.episodes
        start = page.next


@pytest.mark.usefixtures("few")
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    limit=st.integers(1, 9),
    success=st.sampled_from([None, "yes", "no", "unjudged"]),
    intervention=st.sampled_from([None, True, False]),
    task=st.sampled_from(["", "task 1", "TASK", "2", "absent"]),
    split=st.booleans(),
)
def test_pages_of_any_size_have_the_episodes_that_a_filter_accepts(
    ours: Path,
    theirs: Path,
    limit: int,
    success: str | None,
    intervention: bool | None,
    task: str,
    split: bool,
) -> None:
    """The same ones, in order, as those of the reader that reads all, whatever the files."""
    root = ours if split else theirs
    found = list(walk(EpisodePages(root), limit, EpisodeFilter(success, intervention, task)))
    expected = []
    for episode in Dataset(root):
        judged = {True: "yes", False: "no", None: "unjudged"}[episode.entry.extra["success"]]
        by_hand = bool(episode.column("intervention").any())
        named = any(task.lower() in each for each in episode.entry.tasks)
        if success in (None, judged) and intervention in (None, by_hand) and named:
            expected.append(episode.entry)
    assert [each.entry for each in found] == expected


def test_counts_are_those_of_the_columns(ours: Path) -> None:
    """Steps by hand and repeated images, without reading the frames."""
    pages = EpisodePages(ours)
    for episode in Dataset(ours):
        summary = pages.summary(episode.entry.index)
        assert summary.interventions == episode.column("intervention").sum()
        assert summary.repeated == episode.column("repeated").sum()


def test_a_page_reads_the_files_of_its_episodes_only(
    ours: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beside them those that a bisection needs: a logarithm of all."""
    read: list[Path] = []
    real = episode_pages._rows

    def noted(path: Path, start: int) -> Iterator[dict[str, Any]]:
        read.append(path)
        return real(path, start)

    monkeypatch.setattr(episode_pages, "_rows", noted)
    assert EpisodePages(ours).page(5, 1, ANY).next == 6
    assert len(set(read)) <= 4 < len(LENGTHS)


def test_a_search_that_takes_too_long_is_continued_by_another_call(ours: Path) -> None:
    """Each call looks at one episode at least."""
    pages, start, calls = EpisodePages(ours), 0, 0
    while True:
        page = pages.page(start, 5, EpisodeFilter(task="absent"), within_s=0.0)
        calls += 1
        assert page.episodes == ()
        if page.next is None:
            break
        assert page.next == start + 1
        start = page.next
    assert calls == len(LENGTHS)


def test_an_episode_that_is_not_there_is_refused(ours: Path, tmp_path: Path) -> None:
    """By the number of episodes, or by the one that meta/episodes lacks."""
    with pytest.raises(DatasetError, match="no episode 7: it has 7"):
        EpisodePages(ours).summary(7)
    assert EpisodePages(ours).page(7, 5, ANY).episodes == ()
    lacking = tmp_path / "lacking"
    shutil.copytree(ours, lacking)
    episode_files(lacking)[2].unlink()
    with pytest.raises(DatasetError, match="lacks 2"):
        EpisodePages(lacking).summary(2)
    assert EpisodePages(lacking).summary(3).entry.index == 3
