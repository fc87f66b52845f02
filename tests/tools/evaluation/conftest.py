"""What all tests of an evaluation have."""

from __future__ import annotations

import pytest

from holdfast.tools.evaluation import environment_attempts


@pytest.fixture(autouse=True)
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine is no reason to let an episode pass."""
    monkeypatch.setattr(environment_attempts, "PROMPT_S", 1e9)
