"""How long what could not be read waits."""

from __future__ import annotations

import pytest

from holdfast.actors.runtime import site_stop_store


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What did not count is tried again at every look."""
    monkeypatch.setattr(site_stop_store, "AGAIN_NS", 0)
