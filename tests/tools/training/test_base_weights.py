"""The weights of another checkpoint to begin with."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from holdfast.errors import PolicyError
from holdfast.policy.tokens import Vocabulary
from holdfast.tests.tools.training.small_trainings import (
    NETWORK,
    fake_training,
    saved_base,
    small,
)
from holdfast.tools.training.base_weights import WORDS
from holdfast.tools.training.episode_windows import fake_windows
from holdfast.tools.training.recorded_batches import RecordedBatches
from holdfast.tools.training.trainer import Trainer
from holdfast.tools.training.training_check import fake_spec


def test_the_weights_that_match_are_those_of_the_base(tmp_path: Path) -> None:
    """The last pattern that matches decides, and the saved average begins with them too."""
    base = saved_base(tmp_path, small(), seed=1)
    patterns = ("*", "!encoder.*", "encoder.eyes.*")
    config = small(base=str(tmp_path), base_weights=patterns)
    begun, fresh = fake_training(config, seed=2), fake_training(small(), seed=2)
    own = fresh.network.state_dict()
    for name, value in begun.network.state_dict().items():
        taken = not name.startswith("encoder.") or name.startswith("encoder.eyes.")
        assert torch.equal(value, base[name] if taken else own[name]), name
        assert torch.equal(begun.average.get(name, value), value), name
    assert not torch.equal(base["encoder.fuse.0.weight"], own["encoder.fuse.0.weight"])


def test_base_weights_that_do_not_fit_are_refused_by_name(tmp_path: Path) -> None:
    """A pattern of no weight, a name that the network has not, and another shape."""
    saved_base(tmp_path, small(), seed=1)
    base = str(tmp_path)
    for patterns in (("eyes.*",), ("*", "!eyes.*"), ("encoder.*", "eyes.*")):
        with pytest.raises(PolicyError, match=r"no weight matches eyes\.\*; there are "):
            fake_training(small(base=base, base_weights=patterns))
    with pytest.raises(PolicyError, match=r"no weight \S+; exclude it: base_weights=\*,!"):
        fake_training(small("act", base=base))
    wide = small(base=base, network={**NETWORK, "width": 32})
    with pytest.raises(PolicyError, match=r"is \[\d.*\] there and \[\d.*\] here; exclude"):
        fake_training(wide)


def test_words_of_another_vocabulary_keep_what_the_base_learned_of_them(tmp_path: Path) -> None:
    """Each known word has the base's embedding at its new number, a new one has its own."""
    base = saved_base(tmp_path, small(), seed=1)[WORDS]
    tasks = ("pick up a red part", "put a part down")
    config = small(base=str(tmp_path), base_weights=("encoder.instruction.*",))
    spec = fake_spec(config)
    data = fake_windows(spec, tasks=tasks)
    begun = Trainer(config, RecordedBatches(config, spec, data, seed=2)).network
    found = begun.state_dict()[WORDS]
    before, now = Vocabulary.of(fake_windows(spec).tasks), Vocabulary.of(tasks)
    assert {"a", "red"} <= set(now.words) - set(before.words)
    for word in set(before.words) & set(now.words):
        row, earlier = now.encode(word, 1)[0], before.encode(word, 1)[0]
        assert torch.equal(found[row], base[earlier]), word
    assert torch.equal(found[:2], base[:2])
    assert not torch.equal(found[now.encode("red", 1)[0]], base[before.encode("down", 1)[0]])
