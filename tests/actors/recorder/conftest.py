"""A dataset of two episodes, and a hub for its uploads."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from holdfast.tests.robot.dataset import recordings
from holdfast.tests.robot.dataset.upload_hub import TOKEN, UploadHub, upload_hub


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[UploadHub]:
    """A hub that this test's uploads go to."""
    with upload_hub() as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        monkeypatch.setenv("HF_HOME", str(tmp_path / "huggingface"))
        monkeypatch.setenv("HF_HUB_OFFLINE", "0")
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        yield hub


@pytest.fixture
def root(tmp_path: Path) -> Path:
    recordings.dataset(tmp_path / "pick", recordings.SMALL, (3, 4))
    return tmp_path / "pick"
