"""The network of π0 and π0.5: what each token may depend on."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from holdfast.policy.pi0.pi_network import PiNetwork
from holdfast.tests.peers.small_pi0 import BATCH, inputs

from .conftest import NetworkOf

FAMILIES = ["pi0", "pi05"]


def given(family: str) -> dict[str, Tensor]:
    return {name: torch.from_numpy(value) for name, value in inputs(family).items()}


def velocity(network: PiNetwork, now: dict[str, Tensor], time: Tensor | None = None) -> Tensor:
    """At time 0.5, unless `time` is given."""
    views = (now["left"], now["right"])
    prefix = network.prefix(views, now["image_counts"], now["tokens"], now["token_counts"])
    time = torch.full((len(now["noise"]), 1), 0.5) if time is None else time
    return network.velocity(prefix, now["noise"], time, now["state"])


@pytest.mark.parametrize("family", FAMILIES)
def test_what_does_not_count_has_no_influence(family: str, network_of: NetworkOf) -> None:
    """The words behind a text and the pixels of a masked view may be anything."""
    network, now = network_of(family), given(family)
    other = {name: value.clone() for name, value in now.items()}
    other["tokens"][~now["token_counts"]] = 3
    other["right"][2] = 0.5
    assert torch.equal(velocity(network, now), velocity(network, other))


@pytest.mark.parametrize("family", FAMILIES)
def test_a_text_padded_further_gives_the_same_velocity(family: str, network_of: NetworkOf) -> None:
    """Samples of one batch have prompts of different lengths; padding moves no position."""
    network, now = network_of(family), given(family)
    padding = torch.zeros(BATCH, 20, dtype=torch.long)
    longer = {
        **now,
        "tokens": torch.cat((now["tokens"], padding), dim=1),
        "token_counts": torch.cat((now["token_counts"], padding.bool()), dim=1),
    }
    torch.testing.assert_close(velocity(network, longer), velocity(network, now))


@pytest.mark.parametrize("family", FAMILIES)
def test_samples_of_a_batch_do_not_influence_each_other(family: str, network_of: NetworkOf) -> None:
    """Each sample alone has the velocity that it has among others."""
    network, now = network_of(family), given(family)
    alone = [
        velocity(network, {name: value[k : k + 1] for name, value in now.items()})
        for k in range(BATCH)
    ]
    torch.testing.assert_close(torch.cat(alone), velocity(network, now))


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("name", ["left", "right", "tokens", "noise"])
def test_what_counts_has_influence(family: str, name: str, network_of: NetworkOf) -> None:
    """A view, a word and the noise change every step of the chunk."""
    network, now = network_of(family), given(family)
    changed = {**now, name: now[name].flip(0)}
    moved = velocity(network, changed)[0] - velocity(network, now)[0]
    assert (moved.abs().amax(-1) > 0).all()


def test_the_state_is_a_token_of_pi0_and_no_input_of_pi05(network_of: NetworkOf) -> None:
    """π0.5 reads the state in its text."""
    for family in FAMILIES:
        network, now = network_of(family), given(family)
        changed = {**now, "state": now["state"] + 1}
        same = torch.equal(velocity(network, changed), velocity(network, now))
        assert same == (family == "pi05")


def test_the_state_token_of_pi0_does_not_see_the_actions(network_of: NetworkOf) -> None:
    """Its keys and values are the same for any noise, in every layer."""
    network, now = network_of("pi0"), given("pi0")
    kept = []
    network.expert.register_forward_hook(lambda _module, _given, out: kept.append(out[1]))
    velocity(network, now)
    velocity(network, {**now, "noise": now["noise"] + 1})
    for one, other in zip(*kept, strict=True):
        for before, after in zip(one, other, strict=True):
            torch.testing.assert_close(before[:, :, 0], after[:, :, 0])
            assert not torch.allclose(before[:, :, 1], after[:, :, 1])


@pytest.mark.parametrize("family", FAMILIES)
def test_one_time_for_each_step_is_the_chunks_time_where_all_are_equal(
    family: str, network_of: NetworkOf
) -> None:
    """And a step of another time changes the velocity."""
    network, now = network_of(family), given(family)
    steps = now["noise"].shape[1]
    times = torch.full((BATCH, steps), 0.5)
    torch.testing.assert_close(velocity(network, now, times), velocity(network, now))
    times[:, 0] = 0.0
    assert not torch.allclose(velocity(network, now, times), velocity(network, now))


@pytest.mark.parametrize("family", FAMILIES)
def test_a_step_with_some_steps_given_has_their_times(family: str, network_of: NetworkOf) -> None:
    """Of those given, time 0; joined layers keep their names and values."""
    network, now = network_of(family), given(family)
    given_steps = torch.arange(now["noise"].shape[1]) < torch.tensor([[0], [2], [5]])
    times = torch.full(given_steps.shape, 0.3).masked_fill(given_steps, 0.0)
    expected = velocity(network, now, times)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    network.join()
    for name, value in network.state_dict().items():
        assert torch.equal(value, before.pop(name))
    assert not before
    views = (now["left"], now["right"])
    prefix = network.prefix(views, now["image_counts"], now["tokens"], now["token_counts"])
    suffix = network.suffix(prefix, now["state"], now["noise"].shape[1])
    moment = network.settled(0.3).where(given_steps, network.settled(0.0))
    torch.testing.assert_close(network.flow(suffix, now["noise"], moment), expected)
