"""The calls of the LeRobot library, with a stand-in for it."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from holdfast.policy.lerobot.policy_library import load


def test_the_copy_that_the_library_makes_of_a_configuration_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its parser reads a temporary file that the library leaves; the place of others is as was."""
    read: list[Path] = []

    def from_pretrained(folder: str) -> SimpleNamespace:
        with tempfile.NamedTemporaryFile("w+", delete=False, suffix=".json") as file:
            file.write(folder)
        read.append(Path(file.name))
        return SimpleNamespace(type="act", text=read[0].read_text())

    made = SimpleNamespace(from_pretrained=lambda _, config: config.text)
    library: dict[str, dict[str, Any]] = {
        "lerobot.configs.policies": {
            "PreTrainedConfig": SimpleNamespace(from_pretrained=from_pretrained)
        },
        "lerobot.policies.factory": {
            "get_policy_class": lambda _: made,
            "make_pre_post_processors": lambda *_, **__: ("before", "after"),
        },
        "lerobot.policies": {},
        "lerobot.processor": {},
        "lerobot.utils.import_utils": {"register_third_party_plugins": lambda: None},
    }
    for name, names in library.items():
        monkeypatch.setitem(sys.modules, name, SimpleNamespace(**names))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert load(Path("trained"), "cpu", None) == ("trained", "before", "after")
    assert read[0].is_relative_to(tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert tempfile.gettempdir() == str(tmp_path)
