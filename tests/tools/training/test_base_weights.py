"""The weights of another checkpoint to begin with."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from holdfast.errors import PolicyError
from holdfast.tests.tools.training.small_trainings import (
    NETWORK,
    fake_training,
    saved_base,
    small,
)


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
        assert torch.equal(begun.average[name], value), name
    assert not torch.equal(base["encoder.fuse.0.weight"], own["encoder.fuse.0.weight"])


def test_base_weights_that_do_not_fit_are_refused_by_name(tmp_path: Path) -> None:
    """A name of no weight, one that the network has not, and another shape."""
    saved_base(tmp_path, small(), seed=1)
    base = str(tmp_path)
    with pytest.raises(PolicyError, match=r"no weight matches eyes\.\*; there are "):
        fake_training(small(base=base, base_weights=("eyes.*",)))
    with pytest.raises(PolicyError, match=r"no weight \S+; exclude it: base_weights=\*,!"):
        fake_training(small("act", base=base))
    wide = small(base=base, network={**NETWORK, "width": 32})
    with pytest.raises(PolicyError, match=r"is \[\d.*\] there and \[\d.*\] here; exclude"):
        fake_training(wide)
