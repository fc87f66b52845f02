"""`policy: pi0_fast`: chunks that are whole, whatever the network would choose."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from holdfast.actors.inference.given_policy import GivenPolicy
from holdfast.actors.inference.policy_runner import PolicyRunner
from holdfast.actors.inference.user_policy import is_own
from holdfast.errors import PolicyError
from holdfast.policy.base import Observation
from holdfast.policy.graphs import Function, GraphedFunction
from holdfast.policy.pi0.fast_model import FastModel
from holdfast.policy.pi0.fast_network import StaticCache
from holdfast.policy.pi0.pi_policy import Pi0FastPolicy, Pi0Policy, PiPolicy
from holdfast.tests.peers.small_pi_checkpoint import STEPS, write_openpi_checkpoint
from holdfast.tests.policy.trace import Trace

LIBERO: dict[str, Any] = {"mapping": "libero", "camera_size": (48, 32)}
LETTERS = STEPS * 7


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_openpi_checkpoint(tmp_path_factory.mktemp("pi") / "pi0_fast", "pi0_fast")


@pytest.fixture(scope="module")
def policy(folder: Path) -> Pi0FastPolicy:
    return Pi0FastPolicy(str(folder), **LIBERO)


def examples(policy: Pi0FastPolicy) -> list[Observation]:
    tasks = ("pick the red parcel", "open the drawer", "")
    made = [policy.spec.example(seed, task) for seed, task in enumerate(tasks)]
    return [replace(each, state=each.state * 0.3) for each in made]


def model_of(policy: Pi0FastPolicy) -> FastModel:
    model = policy._model
    assert isinstance(model, FastModel)
    return model


def test_random_weights_give_whole_chunks_too(policy: Pi0FastPolicy) -> None:
    """Each token is chosen among those that fit, so that the letters are those of a chunk."""
    model, given = model_of(policy), examples(policy)
    found = model.decoded([policy._sample(each) for each in given])
    for tokens in found:
        assert tokens is not None
        assert int(model.tokens.letters[tokens].sum()) == LETTERS
    chunks = np.stack([chunk.robot for chunk in policy.predict_chunk(given)])
    assert chunks.shape == (3, STEPS, 7)
    assert np.isfinite(chunks).all()
    assert float(np.abs(chunks[0] - chunks[1]).max()) > 1e-2


def test_a_batch_gives_what_each_gets_alone(policy: Pi0FastPolicy) -> None:
    """Prompts of different lengths, answers of different numbers of tokens."""
    given = examples(policy)
    alone = [policy.predict_chunk([each])[0].robot for each in given]
    together = [chunk.robot for chunk in policy.predict_chunk(given)]
    np.testing.assert_allclose(np.stack(together), np.stack(alone), atol=1e-4)


def test_a_token_is_the_likeliest_of_those_that_fit(policy: Pi0FastPolicy) -> None:
    """By the whole sequence at once, without a cache."""
    model, one = model_of(policy), policy._sample(examples(policy)[0])
    [tokens] = model.decoded([one])
    assert tokens is not None
    network, words = model.decoder.network, model.decoder.words
    before = model.decoder._before.tolist()
    text = torch.tensor([one.tokens])
    images = [
        torch.from_numpy(i)[None].permute(0, 3, 1, 2) / 127.5 - 1 for i in one.images.values()
    ]
    all_count = torch.ones(1, len(images), dtype=torch.bool)
    prefix = network.prefix(images, all_count, text, torch.ones_like(text, dtype=torch.bool))
    whole = [*before, *words.words[tokens].tolist()]
    cache = StaticCache(prefix, len(whole))
    hidden = network.extend(cache, torch.tensor([whole]), cache.places)
    left, within = LETTERS, False
    for k, token in enumerate(tokens):
        scores = hidden[0, len(before) - 1 + k] @ words.rows.t()
        fits = (words.letters <= left) & (words.begins == within)
        best = float(scores[fits].max())
        assert float(scores[token]) == pytest.approx(best, abs=1e-4), f"token {k}"
        left, within = left - int(words.letters[token]), bool(words.ends[token])
    assert left == 0


def test_graphs_can_hold_the_prefix_and_each_word(policy: Pi0FastPolicy, folder: Path) -> None:
    """Traced with one batch, right for another, and no operation of theirs needs the host."""
    decoder = model_of(graphed := Pi0FastPolicy(str(folder), **LIBERO)).decoder
    prefix, words = Trace(), Trace()
    decoder.begun = GraphedFunction(decoder.begin, prefix)
    decoder.scored = GraphedFunction(decoder.score, words)
    given = examples(policy)
    for batch in (given[:2], given[1:]):
        ours, expected = graphed.predict_chunk(batch), policy.predict_chunk(batch)
        for one, other in zip(ours, expected, strict=True):
            np.testing.assert_allclose(one.robot, other.robot, atol=1e-4)
    assert prefix.sizes == [2]
    assert words.sizes == [2, 2], "the words before an answer, then one after another"
    assert not prefix.with_host | words.with_host
    assert words.replays > STEPS
    assert graphed.execution == "graphs for batches of 2"


def test_graphs_of_words_have_the_cache_of_the_present_prefix(
    policy: Pi0FastPolicy, folder: Path
) -> None:
    """Also where the prefix could not be captured: texts of any length have one cache a batch."""
    decoder = model_of(graphed := Pi0FastPolicy(str(folder), **LIBERO)).decoder
    words = Trace()

    def fails(function: Function, inputs: tuple[Tensor, ...]) -> Function:
        raise RuntimeError("CUDA out of memory")

    decoder.begun = GraphedFunction(decoder.begin, fails)
    decoder.scored = GraphedFunction(decoder.score, words)
    one, other, _ = examples(policy)
    for given in (replace(one, task="pick the red parcel " * 6), other, one):
        [ours], [expected] = (each.predict_chunk([given]) for each in (graphed, policy))
        np.testing.assert_allclose(ours.robot, expected.robot, atol=1e-4)
    assert words.sizes == [1, 1] and words.replays > STEPS
    assert graphed.execution.startswith(
        "prefix: eager: capturing failed: CUDA out of memory; words"
    )
    assert len(decoder._caches) == 1


def test_an_eager_run_keeps_one_cache(policy: Pi0FastPolicy) -> None:
    """Whatever batches and lengths of texts came before."""
    one, *others = examples(policy)
    decoder = model_of(policy).decoder
    for given in ([one], [replace(one, task="pick the red parcel " * 6)], others, [one]):
        policy.predict_chunk(given)
        assert len(decoder._caches) == 1


@pytest.mark.gpu
def test_the_graphs_agree_with_the_eager_run(folder: Path) -> None:
    """For batches of every size, in any order."""
    graphed, eager = (
        Pi0FastPolicy(str(folder), device="cuda", **LIBERO, graphs=graphs)
        for graphs in ("auto", "off")
    )
    given = examples(graphed)
    for batch in (given[:1], given, given[1:], given):
        ours, expected = graphed.predict_chunk(batch), eager.predict_chunk(batch)
        for one, other in zip(ours, expected, strict=True):
            np.testing.assert_allclose(one.robot, other.robot, atol=1e-4)
    assert graphed.execution == "graphs for batches of 1, 2, 3"


def test_a_chunk_that_is_not_whole_in_time_is_an_error_of_its_robot(folder: Path) -> None:
    """What was found, what was expected; nothing is filled up with zeros."""
    policy = Pi0FastPolicy(str(folder), **LIBERO, decoding_steps=2)
    with pytest.raises(ValueError, match="a malformed chunk: 2 action tokens are not enough"):
        policy.predict_chunk(examples(policy)[:1])


def test_it_continues_no_plan(policy: Pi0FastPolicy) -> None:
    """A plan changes nothing, and the spec says so."""
    assert policy.spec.prefix == "none"
    one = examples(policy)[0]
    without = replace(one, prefix=None, prefix_robot=None)
    assert (
        policy.predict_chunk([one])[0].robot.tobytes()
        == policy.predict_chunk([without])[0].robot.tobytes()
    )


@pytest.mark.parametrize(
    ("kind", "options", "words"),
    [
        (Pi0FastPolicy, {"euler_steps": 3}, "euler_steps: policy pi0_fast has none"),
        (Pi0FastPolicy, {"prefix": "guided"}, "prefix: policy pi0_fast has none"),
        (Pi0FastPolicy, {"discrete_state_input": True}, "discrete_state_input: policy pi0_fast"),
        (Pi0FastPolicy, {"graphs": True}, "graphs: found true"),
        (Pi0FastPolicy, {"action_tokenizer": "/none"}, "no action tokenizer: looked for"),
        (Pi0Policy, {"action_tokenizer": "/none"}, "action_tokenizer: policy pi0 has none"),
        (Pi0Policy, {"discrete_state_input": True}, "discrete_state_input: policy pi0 has none"),
    ],
)
def test_a_wrong_option_is_refused_by_name(
    kind: type[PiPolicy], options: dict[str, Any], words: str, folder: Path
) -> None:
    """Of another family, or of a place that has nothing."""
    with pytest.raises(PolicyError, match=words):
        kind(str(folder), **LIBERO, **options)


def test_it_is_served_like_any_policy(policy: Pi0FastPolicy) -> None:
    """Shared by robots, in batches, by the replica's own code."""
    runner = PolicyRunner(GivenPolicy(policy, policy.spec, policy.checkpoint_hash))
    assert runner.warm_up(max_batch=2) == 2
    assert runner.mode == "shared"
    assert is_own("pi0_fast")
    assert (
        runner.execution == policy.execution == "eager: graphs need a cuda device, this one is cpu"
    )
