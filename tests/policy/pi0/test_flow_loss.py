"""The loss of π0 and π0.5: which steps count, at which times, and whom it teaches."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from holdfast.policy.pi0.flow_loss import flow_loss, insulated, repeated, training_times
from holdfast.policy.pi0.pali_gemma import Prefix
from holdfast.policy.pi0.pi_network import PiNetwork
from holdfast.tests.peers.small_pi0 import BATCH, inputs

from .conftest import NetworkOf

FAMILIES = ["pi0", "pi05"]


def given(family: str) -> dict[str, Tensor]:
    return {name: torch.from_numpy(value) for name, value in inputs(family).items()}


def prefix_of(network: PiNetwork, now: dict[str, Tensor]) -> Prefix:
    views = (now["left"], now["right"])
    return network.prefix(views, now["image_counts"], now["tokens"], now["token_counts"])


def loss_of(
    network: PiNetwork, now: dict[str, Tensor], held: Tensor | None, counts: Tensor
) -> float:
    seen = prefix_of(network, now)
    rest = held, counts, now["time"], now["noise"]
    return float(flow_loss(network, seen, now["state"], now["chunk"], *rest))


def masks(now: dict[str, Tensor], first: int) -> tuple[Tensor, Tensor]:
    """The first steps, and all."""
    steps = torch.arange(now["chunk"].shape[1])
    held = (steps < first).expand(BATCH, -1)
    return held, torch.ones_like(held)


def test_times_are_those_of_beta() -> None:
    """Their distribution function is ((t - 0.001) / 0.999) ^ 1.5, from 0.001 to 1."""
    uniform = torch.linspace(0, 1, 101)
    times = training_times(uniform)
    torch.testing.assert_close(((times - 0.001) / 0.999) ** 1.5, uniform)
    assert float(times[0]) == pytest.approx(0.001) and float(times[-1]) == pytest.approx(1.0)


@pytest.mark.parametrize("family", FAMILIES)
def test_one_time_for_each_step_is_that_of_the_chunk_where_none_is_given(
    family: str, network_of: NetworkOf
) -> None:
    """Both ways of computing it agree."""
    network, now = network_of(family), given(family)
    none, counts = masks(now, 0)
    expected = loss_of(network, now, None, counts)
    assert loss_of(network, now, none, counts) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_given_prefix_is_without_noise_and_does_not_count(
    family: str, network_of: NetworkOf
) -> None:
    """Its noise has no influence at all; its actions have some, on the steps after it."""
    network, now = network_of(family), given(family)
    held, counts = masks(now, 4)
    loss = loss_of(network, now, held, counts)
    noisy = {**now, "noise": now["noise"].clone()}
    noisy["noise"][:, :4] += 3
    assert loss_of(network, noisy, held, counts) == loss
    moved = {**now, "chunk": now["chunk"].clone()}
    moved["chunk"][:, :4] += 3
    assert loss_of(network, moved, held, counts) != loss


@pytest.mark.parametrize("family", FAMILIES)
def test_a_step_after_an_episodes_end_does_not_count(family: str, network_of: NetworkOf) -> None:
    """The loss is the mean over the others."""
    network, now = network_of(family), given(family)
    first, counts = masks(now, 4)
    whole = loss_of(network, now, None, counts)
    parts = [loss_of(network, now, None, part) for part in (first, ~first)]
    share = float(first.float().mean())
    assert whole == pytest.approx(share * parts[0] + (1 - share) * parts[1], rel=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_an_insulated_prefix_has_the_same_loss_and_teaches_the_expert_alone(
    family: str, network_of: NetworkOf
) -> None:
    """No gradient reaches pixels, words or the language model."""
    network, now = network_of(family).requires_grad_(requires_grad=True), given(family)
    _, counts = masks(now, 0)
    seen = prefix_of(network, now)
    rest = now["state"], now["chunk"], None, counts, now["time"], now["noise"]
    free, alone = (flow_loss(network, each, *rest) for each in (seen, insulated(seen)))
    assert float(free.detach()) == float(alone.detach())
    alone.backward()  # type: ignore[no-untyped-call]
    taught = {name.split(".")[0] for name, w in network.named_parameters() if w.grad is not None}
    assert taught == {"expert", "head"}


def test_a_repeated_prefix_stands_beside_itself(network_of: NetworkOf) -> None:
    """Each sample's is followed by its copies, as the chunks of a batch are."""
    network, now = network_of("pi05"), given("pi05")
    seen = prefix_of(network, now)
    twice = repeated(seen, 2)
    for (keys, values), (more_keys, more_values) in zip(seen.layers, twice.layers, strict=True):
        for one, two in ((keys, more_keys), (values, more_values)):
            assert torch.equal(two[0::2], one) and torch.equal(two[1::2], one)
    assert torch.equal(twice.counts[1::2], seen.counts)
