"""Small networks of π0 and π0.5 with weights by name."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from holdfast.policy.pi0.architecture import Architecture
from holdfast.policy.pi0.pi_network import PiNetwork
from holdfast.policy.pi0.tensor_names import published_name
from holdfast.tests.peers.key_weights import weights_of
from holdfast.tests.peers.small_pi0 import SMALL

torch.set_num_threads(1)

NetworkOf = Callable[[str], PiNetwork]


def weighted(sizes: Architecture) -> PiNetwork:
    """The network of these sizes."""
    network = PiNetwork(sizes)
    with torch.no_grad():
        for name, value in network.named_parameters():
            published = published_name(name, sizes.family)
            value.copy_(torch.from_numpy(weights_of(published, tuple(value.shape))))
    return network.eval().requires_grad_(requires_grad=False)


@pytest.fixture(scope="session")
def network_of() -> NetworkOf:
    """The small network of a family."""
    return lambda family: weighted(SMALL[family])
