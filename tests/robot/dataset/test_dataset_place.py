"""Whether a folder can become a dataset, while another process makes it one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from holdfast.robot.dataset.dataset_info import INFO
from holdfast.robot.dataset.dataset_place import other_content


def test_a_dataset_that_another_process_makes_meanwhile_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two robots that record to one new root look at it before either has made it."""
    iterdir = Path.iterdir

    def made_meanwhile(folder: Path) -> Iterator[Path]:
        (tmp_path / INFO).parent.mkdir(exist_ok=True)
        (tmp_path / INFO).write_text("{}")
        return iterdir(folder)

    monkeypatch.setattr(Path, "iterdir", made_meanwhile)
    assert other_content(tmp_path) == ""


def test_a_folder_with_other_files_is_no_dataset(tmp_path: Path) -> None:
    """The error names what the folder holds."""
    (tmp_path / "meta").mkdir()
    assert other_content(tmp_path) == ""
    (tmp_path / "meta" / "notes.txt").write_text("x")
    assert "holds meta, but no meta/info.json" in other_content(tmp_path)
