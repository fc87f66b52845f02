"""Checkpoints on disk."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from holdfast.errors import PolicyError
from holdfast.policy.checkpoint import (
    FILES,
    checkpoint_hash,
    read_config,
    read_spec,
    read_stats,
    read_weights,
    resolve,
    save,
    shipped,
)
from holdfast.policy.kinds import load_policy


def test_a_checkpoint_is_read_as_it_was_saved(checkpoint: Path) -> None:
    """Config, statistics and weights are unchanged."""
    again = checkpoint.with_name("again")
    config, stats, weights = (
        read_config(checkpoint),
        read_stats(checkpoint),
        read_weights(checkpoint),
    )
    save(again, config, stats, weights)
    assert read_config(again) == config
    assert read_stats(again) == stats
    assert all(np.array_equal(value, weights[name]) for name, value in read_weights(again).items())


def test_a_checkpoint_has_the_same_hash_in_another_folder(checkpoint: Path) -> None:
    """The hash covers the contents and not the path."""
    again = checkpoint.with_name("again")
    config, stats = read_config(checkpoint), read_stats(checkpoint)
    assert save(again, config, stats, read_weights(checkpoint)) == checkpoint_hash(checkpoint)


@pytest.mark.parametrize("name", FILES)
def test_a_changed_byte_changes_the_hash(checkpoint: Path, name: str) -> None:
    """The first, middle and last byte of each file count."""
    before, path = checkpoint_hash(checkpoint), checkpoint / name
    content = path.read_bytes()
    for at in (0, len(content) // 2, len(content) - 1):
        changed = bytearray(content)
        changed[at] ^= 1
        path.write_bytes(changed)
        assert checkpoint_hash(checkpoint) != before
    path.write_bytes(content)
    assert checkpoint_hash(checkpoint) == before


def test_another_file_in_the_folder_does_not_change_the_hash(checkpoint: Path) -> None:
    """Only the three files of a checkpoint count."""
    before = checkpoint_hash(checkpoint)
    (checkpoint / "README.md").write_text("made on a Tuesday")
    assert checkpoint_hash(checkpoint) == before


@pytest.mark.parametrize("name", FILES)
def test_an_incomplete_checkpoint_is_refused(checkpoint: Path, name: str) -> None:
    """The error names the missing file."""
    (checkpoint / name).unlink()
    with pytest.raises(PolicyError, match=name):
        load_policy("flow", checkpoint)


def test_an_unknown_name_is_refused_with_the_shipped_ones() -> None:
    """The error lists the shipped checkpoints and the training command."""
    with pytest.raises(PolicyError, match=r"no checkpoint 'conveyer'.*train") as caught:
        resolve("conveyer")
    assert all(name in str(caught.value) for name in shipped())


def test_a_shipped_name_resolves_to_its_folder() -> None:
    """Each shipped checkpoint is complete and has the model of its name."""
    for name in shipped():
        assert resolve(name).name == name
        assert read_spec(name).model == name
        assert len(checkpoint_hash(name)) == 64


def test_a_config_with_a_wrong_type_is_refused(checkpoint: Path) -> None:
    """The error, on reading, names the file and the key."""
    path = checkpoint / "config.json"
    path.write_text(path.read_text().replace('"chunk_size": 12', '"chunk_size": "12"'))
    with pytest.raises(PolicyError, match=r"config\.json.*chunk_size"):
        read_spec(checkpoint)


def test_truncated_weights_are_refused(checkpoint: Path) -> None:
    """The error is a PolicyError that names the file."""
    path = checkpoint / "model.safetensors"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(PolicyError, match=r"model\.safetensors"):
        load_policy("flow", checkpoint)


def test_weights_of_another_network_are_refused(checkpoint: Path) -> None:
    """The error says that the weights do not fit the config."""
    path = checkpoint / "config.json"
    path.write_text(
        path.read_text().replace('"width": 16,\n    "layers"', '"width": 32,\n    "layers"')
    )
    with pytest.raises(PolicyError, match="does not fit"):
        load_policy("flow", checkpoint)


def test_statistics_of_another_robot_are_refused(checkpoint: Path) -> None:
    """norm_stats.json must have as many entries as the spec has names."""
    stats = read_stats(checkpoint)
    shutil.copytree(checkpoint, checkpoint.with_name("other"))
    swapped = type(stats)(state=stats.action, action=stats.action)
    save(checkpoint, read_config(checkpoint), swapped, read_weights(checkpoint))
    with pytest.raises(PolicyError, match=r"state has .2. entries where the spec names 3"):
        load_policy("flow", checkpoint)


def test_a_spec_is_read_without_torch(checkpoint: Path) -> None:
    """Spec, hash and the synthetic policies need no torch, and a trained policy names the extra."""
    program = (
        "import sys; sys.modules['torch'] = None\n"
        "from holdfast.policy.checkpoint import read_spec, checkpoint_hash\n"
        "from holdfast.policy.kinds import load_policy\n"
        f"path = {str(checkpoint)!r}\n"
        "assert read_spec(path).model == 'tiny' and checkpoint_hash(path)\n"
        "for kind in ('constant', 'shape-only'):\n"
        "    policy = load_policy(kind, path)\n"
        "    assert len(policy.predict_chunk([policy.spec.example()])) == 1\n"
        "try:\n"
        "    load_policy('flow', path)\n"
        "except Exception as error:\n"
        "    assert 'torch' in str(error) and 'pip install' in str(error), error\n"
        "else:\n"
        "    raise SystemExit('flow loaded without torch')\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=300)


def test_an_unknown_kind_is_refused_with_the_known_ones(checkpoint: Path) -> None:
    """The error lists the kinds."""
    with pytest.raises(PolicyError, match=r"no policy kind 'flaw'.*flow.*shape-only"):
        load_policy("flaw", checkpoint)


def test_an_unknown_option_is_refused(checkpoint: Path) -> None:
    """The error names the option."""
    with pytest.raises(PolicyError, match="delay_ms"):
        load_policy("constant", checkpoint, delay_ms=3)
