"""The core of a replica: messages of its robots and its answers, without sockets."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from holdfast.actors.inference.served_session import noise_seed
from holdfast.policy.base import Chunk
from holdfast.policy.kinds import load_policy
from holdfast.tests.actors.inference.bench import Echo, MakeBench
from holdfast.tests.actors.inference.robot_side import RobotSide, example
from holdfast.transport.header import Kind
from holdfast.transport.images import resize
from holdfast.transport.outbox import Outbox, OutboxReader

SECOND_NS = 1_000_000_000


def chunk_of(message: Any) -> Chunk:
    assert message.header.kind is Kind.REPLY, message.body
    return Chunk(message.array(message.body.chunk_model), message.array(message.body.chunk))


@pytest.mark.parametrize("kind", ["constant", "flow"])
@pytest.mark.parametrize("way", ["raw", "shared memory", "shared memory, resized"])
def test_a_served_chunk_is_byte_identical_to_one_predicted_directly(
    kind: str,
    way: str,
    checkpoint: Path,
    bench: MakeBench,
) -> None:
    """Images by value or by reference, resized by the robot or by the replica."""
    policy = load_policy(kind, checkpoint)
    memory = bytearray(Outbox.size_for(64_000))
    outbox = Outbox(memory) if way != "raw" else None
    b = bench(policy, {"r1": OutboxReader(memory)} if outbox else None)
    robot = RobotSide("r1", outbox)
    [accepted] = b.receive("r1", robot.open())
    assert accepted.body.shm is (outbox is not None)
    for seq in (1, 2, 3):
        given = example(seq)
        if way.endswith("resized"):
            big = {
                name: np.random.default_rng(seq).integers(0, 256, (48, 64, 3), dtype=np.uint8)
                for name in given.images
            }
            sent = dataclasses.replace(given, images=big)
            small = {n: resize(big[n], i.shape[1], i.shape[0]) for n, i in given.images.items()}
            given = dataclasses.replace(given, images=small)
        else:
            sent = given
        b.receive("r1", robot.request(sent, seq=seq))
        [(name, reply)] = b.work()
        [expected] = policy.predict_chunk([given])
        got = chunk_of(reply)
        assert name == "r1"
        assert got.model.tobytes() == expected.model.tobytes()
        assert got.robot.tobytes() == expected.robot.tobytes()


def test_batched_chunks_agree_with_single_ones(
    checkpoint: Path,
    bench: MakeBench,
) -> None:
    """Each observation has its own state, images, prefix, delay, task and noise."""
    policy = load_policy("flow", checkpoint)
    b = bench(policy, max_batch=4)
    names = [f"r{i}" for i in range(4)]
    b.join(*names)
    given = {n: example(i, delay_steps=i) for i, n in enumerate(names, start=1)}
    for name in names:
        b.receive(name, RobotSide(name).request(given[name]))
    answers = dict(b.work())
    assert set(answers) == set(names)
    for name in names:
        [alone] = policy.predict_chunk([given[name]])
        assert answers[name].body.batch == 4
        np.testing.assert_allclose(chunk_of(answers[name]).robot, alone.robot, atol=1e-4)


@pytest.mark.parametrize("jacobian", ["gradient", "identity"])
def test_each_robot_of_a_batch_is_guided_by_its_own_settings(
    checkpoint: Path, bench: MakeBench, jacobian: str
) -> None:
    """Horizon, schedule and clip of a request; one that names none gets the policy's own."""
    policy = load_policy("flow", checkpoint, prefix="guided", jacobian=jacobian)
    b = bench(policy, max_batch=4)
    settings: dict[str, dict[str, Any]] = {
        "r0": {},
        "r1": {"execution_horizon": 3},
        "r2": {"guidance_schedule": "ones", "guidance_clip": 20.0},
        "r3": {"guidance_schedule": "zeros", "execution_horizon": 5},
    }
    b.join(*settings)
    seen = example(1, delay_steps=1)
    for name, changes in settings.items():
        b.receive(name, RobotSide(name).request(seen, **changes))
    answers = dict(b.work())
    chunks = []
    for name, changes in settings.items():
        [alone] = policy.predict_chunk([dataclasses.replace(seen, **changes)])
        assert answers[name].body.batch == 4
        np.testing.assert_allclose(chunk_of(answers[name]).model, alone.model, atol=1e-3)
        chunks.append(alone.model)
    for place, chunk in enumerate(chunks):
        for other in chunks[:place]:
            assert np.abs(chunk - other).max() > 5e-3, "each setting makes a difference"


@pytest.mark.parametrize(
    ("change", "reason", "says"),
    [
        ({"images": {}}, "image-missing", "'overhead'"),
        ({"task": "dance"}, "task", "'dance'"),
        ({"prefix_robot": None, "state": "prefix"}, "state-shape", "f4[3]"),
    ],
)
def test_a_bad_request_fails_alone_with_a_reason(
    change: dict[str, Any],
    reason: str,
    says: str,
    bench: MakeBench,
    echo: Echo,
) -> None:
    """The ERROR has the request's header and names the field, and the reason is counted."""
    b = bench(echo, max_batch=2, pin_task="put the red parcel in the left bin")
    b.join("good", "bad")
    given = example(1)
    frames = RobotSide("bad").request(given)
    if change.get("state") == "prefix":
        described = msgspec.msgpack.decode(frames[1])
        described["state"] = described["prefix"]
        frames[1] = msgspec.msgpack.encode(described)
    else:
        frames = RobotSide("bad").request(given, **change)
    b.receive("bad", frames)
    b.receive("good", RobotSide("good").request(given))
    answers = dict(b.work())
    assert answers["bad"].header.kind is Kind.ERROR
    assert answers["bad"].header.token == 77, "the header is the request's"
    assert answers["bad"].body.reason == reason
    assert says in answers["bad"].body.message
    assert answers["good"].header.kind is Kind.REPLY
    assert b.meters.counts[f"error:{reason}"] == 1


@pytest.mark.parametrize("array", ["state", "prefix"])
def test_a_request_with_values_that_are_not_finite_is_refused(
    array: str, bench: MakeBench, echo: Echo
) -> None:
    """NaN in the state or the prefix gives the reason `not-finite`."""
    b = bench(echo)
    b.join("r1")
    values = getattr(example(1), array).copy()
    values[..., 0] = np.nan
    b.receive("r1", RobotSide("r1").request(example(1, **{array: values})))
    [(_, answer)] = b.work()
    assert answer.body.reason == "not-finite"


def test_an_observation_that_the_policy_refuses_fails_alone(bench: MakeBench, echo: Echo) -> None:
    """The ERROR has the policy's message, and the others of the batch get their chunks."""
    b = bench(echo, max_batch=3)
    b.join("r1", "r2", "r3")
    for i, name in enumerate(("r1", "r2", "r3")):
        state = np.array([-200.0 if name == "r2" else i, 0, 0], np.float32)
        b.receive(name, RobotSide(name).request(example(i, state=state)))
    answers = dict(b.work())
    assert answers["r2"].body.reason == "observation"
    assert "out of this world" in answers["r2"].body.message
    assert chunk_of(answers["r1"]).model[0, 0] == 0
    assert chunk_of(answers["r3"]).model[0, 0] == 2


def test_a_draining_replica_refuses_robots_and_answers_its_requests(
    bench: MakeBench, echo: Echo
) -> None:
    """The REJECT is not final."""
    b = bench(echo)
    b.join("r1")
    b.receive("r1", RobotSide("r1").request(example(1)))
    b.service.handshake.draining = True
    [refused] = b.receive("r2", RobotSide("r2").open())
    assert refused.body.reason == "draining" and not refused.body.final
    assert len(b.work()) == 1


def test_a_request_that_waited_too_long_is_answered_with_an_error(
    bench: MakeBench, echo: Echo
) -> None:
    """At request_timeout_s the reason is `expired`."""
    b = bench(echo, request_timeout_s=2.0)
    b.join("r1")
    b.receive("r1", RobotSide("r1").request(example(1)), now_ns=0)
    [(_, answer)] = b.work(now_ns=2 * SECOND_NS)
    assert answer.body.reason == "expired"


def test_the_noise_seed_is_a_function_of_the_request(bench: MakeBench, echo: Echo) -> None:
    """Without a seed of its own it is that of robot, epoch, episode and seq."""
    b = bench(echo)
    b.join("r1")
    seeds = []
    for seq, own in ((1, {"seed": 0}), (2, {"seed": 0}), (3, {"seed": 123})):
        b.receive("r1", RobotSide("r1").request(example(1), seq=seq, **own))
        [(_, reply)] = b.work()
        seeds.append(chunk_of(reply).model[0, 1])
    assert seeds == [noise_seed("r1", 1, 0, 1) % 1000, noise_seed("r1", 1, 0, 2) % 1000, 123]
    assert (
        len(
            {
                noise_seed(r, e, p, s)
                for r in ("a", "b")
                for e in (1, 2)
                for p in (1, 2)
                for s in (1, 2)
            }
        )
        == 16
    )


def test_every_request_has_an_audit_line(bench: MakeBench, echo: Echo, tmp_path: Path) -> None:
    """Served and refused requests have a line with session, seq and outcome."""
    b = bench(echo, audit_bytes=1_000_000)
    b.receive("r1", RobotSide("r1").open(session=77))
    b.receive("r1", RobotSide("r1").request(example(1), seq=5, slack_s=0.25))
    b.work()
    b.receive("r1", RobotSide("r1").request(example(1), seq=6, images={}))
    b.work()
    b.service.close()
    served, failed = map(json.loads, (tmp_path / "audit.jsonl").read_text().splitlines())
    assert (served["session"], served["seq"], served["outcome"]) == (77, 5, "served")
    assert served["slack_ms"] == 250 and served["batch"] == 1
    assert (failed["session"], failed["seq"]) == (77, 6)
    assert failed["outcome"] == "error:image-missing"


def test_a_session_has_the_id_that_its_robot_gave_it_or_one_of_its_own(
    bench: MakeBench, echo: Echo
) -> None:
    """The same OPEN again is answered with the same id, another epoch is another session."""
    b = bench(echo)

    def opened(epoch: int, **given: int) -> int:
        [answer] = b.receive("r1", RobotSide("r1").open(epoch, **given))
        return int(answer.body.session)

    assert opened(1, session=2**53 - 1) == 2**53 - 1
    made = opened(2)
    assert 0 < made < 2**53 and opened(2) == made
    assert opened(3) != made
