"""The core of a replica: messages of its robots and its answers, without sockets."""

from __future__ import annotations

import dataclasses
import json
import time
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from holdfast.actors.inference.served_session import noise_seed
from holdfast.errors import WireError
from holdfast.policy.base import Chunk, Observation
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


def test_a_jpeg_is_decoded_and_resized_to_the_policys_resolution(
    bench: MakeBench, echo: Echo
) -> None:
    """The policy's image is close to the resized original."""
    seen: list[Observation] = []
    echo.look = seen.append
    b = bench(echo)
    b.join("r1")
    ramp = np.linspace(0, 255, 64, dtype=np.uint8)[None, :, None]
    image = np.ascontiguousarray(np.broadcast_to(ramp, (48, 64, 3)))
    sent = dataclasses.replace(example(1), images={"overhead": image, "wrist": image})
    b.receive("r1", RobotSide("r1").request(sent, quality=95))
    b.work()
    for camera in echo.spec.cameras:
        got = seen[-1].images[camera.name]
        assert got.shape == (camera.height, camera.width, 3)
        expected = resize(image, camera.width, camera.height)
        assert np.abs(got.astype(int) - expected).mean() < 3


def test_a_request_whose_pixels_were_overwritten_fails_alone(bench: MakeBench, echo: Echo) -> None:
    """Its error is `shm-overwritten`, and the other robot gets its chunk."""
    memory = bytearray(Outbox.size_for(64_000))
    outbox = Outbox(memory)
    b = bench(echo, {"r1": OutboxReader(memory)}, max_batch=2)
    careless = RobotSide("r1", outbox)
    b.receive("r1", careless.open())
    b.join("r2")
    b.receive("r1", careless.request(example(1)))
    for seed in range(outbox.slots):
        outbox.put(example(seed).images)
    b.receive("r2", RobotSide("r2").request(example(2)))
    answers = dict(b.work())
    assert answers["r1"].body.reason == "shm-overwritten"
    assert answers["r2"].header.kind is Kind.REPLY


def test_a_request_whose_pixels_are_overwritten_during_the_prediction_fails_alone(
    bench: MakeBench, echo: Echo
) -> None:
    """Images are not copied for a stateless policy; a chunk from overwritten ones is not sent."""
    memory = bytearray(Outbox.size_for(64_000))
    outbox = Outbox(memory)
    looked: list[bool] = []

    def look(observation: Observation) -> None:
        looked.append(np.shares_memory(observation.images["overhead"], np.frombuffer(memory, "u1")))
        if looked == [True]:
            for seed in range(outbox.slots):
                outbox.put(example(seed).images)

    b = bench(echo, {"r1": OutboxReader(memory)}, max_batch=2)
    careless = RobotSide("r1", outbox)
    b.receive("r1", careless.open())
    b.join("r2")
    echo.look = look
    b.receive("r1", careless.request(example(1)))
    b.receive("r2", RobotSide("r2").request(example(2)))
    answers = dict(b.work())
    assert sorted(looked) == [False, True]
    assert answers["r1"].body.reason == "shm-overwritten"
    assert answers["r2"].header.kind is Kind.REPLY


def test_shared_memory_is_accepted_only_from_the_robot_whose_memory_is_mapped(
    bench: MakeBench, echo: Echo
) -> None:
    """Another name, nonce or host is served without shared memory."""
    memories = {name: bytearray(Outbox.size_for(64_000)) for name in ("r1", "r2")}
    outboxes = {name: Outbox(memory) for name, memory in memories.items()}
    b = bench(echo, {name: OutboxReader(memory) for name, memory in memories.items()})

    def promised(name: str, **changes: Any) -> bool:
        epoch = 1 + int(b.service.sessions[name].epoch if name in b.service.sessions else 0)
        [answer] = b.receive(name, RobotSide(name, outboxes["r1"]).open(epoch, **changes))
        shm: bool = answer.body.shm
        return shm

    assert promised("r1")
    assert not promised("r2"), "the memory of r1"
    assert not promised("r1", outbox_nonce=outboxes["r1"].nonce + 1)
    assert not promised("r1", boot_id="another host")
    assert not promised("r3")


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


def test_a_reply_counts_the_requests_that_it_superseded(bench: MakeBench, echo: Echo) -> None:
    """The newest request is answered, and the count restarts after it."""
    b = bench(echo)
    b.join("r1")
    for seq in (1, 2, 3):
        b.receive("r1", RobotSide("r1").request(example(seq), seq=seq))
    [(_, reply)] = b.work()
    assert (reply.header.seq, reply.body.superseded) == (3, 2)
    b.receive("r1", RobotSide("r1").request(example(4), seq=4))
    [(_, reply)] = b.work()
    assert (reply.header.seq, reply.body.superseded) == (4, 0)


def test_a_message_of_an_earlier_epoch_request_or_episode_is_dropped(
    bench: MakeBench, echo: Echo
) -> None:
    """The newest request of the newest epoch is answered."""
    b = bench(echo)
    robot = RobotSide("r1")
    b.receive("r1", robot.open(epoch=3))
    b.receive("r1", robot.request(example(1), seq=9, episode=5, epoch=3))
    with pytest.raises(WireError, match="r1"):
        b.receive("r1", robot.request(example(1), seq=10, episode=5, epoch=2))
    b.receive("r1", robot.request(example(1), seq=8, episode=5, epoch=3))
    b.receive("r1", robot.reset(episode=4, epoch=3))
    [(_, reply)] = b.work()
    assert reply.header[1:4] == (9, 5, 3)


def test_a_robot_is_served_after_the_largest_epoch_episode_and_seq(
    bench: MakeBench, echo: Echo
) -> None:
    """The session is that of the last OPEN, the episode that of the last request."""
    b = bench(echo)
    robot = RobotSide("r1")
    b.receive("r1", robot.open(epoch=2**32 - 1))
    b.receive("r1", robot.open(epoch=3))
    b.receive("r1", robot.reset(episode=2**32 - 1, epoch=3))
    b.receive("r1", robot.request(example(1), seq=2**64 - 1, episode=2**32 - 1, epoch=3))
    b.work()
    b.receive("r1", robot.request(example(1), seq=9, episode=5, epoch=3))
    [(_, reply)] = b.work()
    assert reply.header[1:4] == (9, 5, 3)


def test_a_reset_drops_the_waiting_request_of_the_old_episode(bench: MakeBench, echo: Echo) -> None:
    """The reset is acknowledged, and a request of a later episode is served without one."""
    b = bench(echo)
    b.join("r1")
    b.receive("r1", RobotSide("r1").request(example(1), episode=0))
    [known] = b.receive("r1", RobotSide("r1").reset(episode=1))
    assert (known.body.what, known.header.episode) == ("reset", 1), "it is acknowledged"
    assert b.work() == []
    b.receive("r1", RobotSide("r1").request(example(1), seq=2, episode=2))
    [(_, reply)] = b.work()
    assert reply.header.episode == 2, "a lost reset costs nothing"


def test_a_request_without_a_session_is_answered_by_lost(bench: MakeBench, echo: Echo) -> None:
    """The EVENT has the request's epoch, so that the robot reconnects at once."""
    b = bench(echo)
    [answer] = b.receive("r1", RobotSide("r1").request(example(1), epoch=4))
    assert (answer.header.kind, answer.header.epoch, answer.body.what) == (Kind.EVENT, 4, "lost")


def test_a_repeated_open_is_accepted_again(bench: MakeBench, echo: Echo) -> None:
    """The session and its waiting request stay, and it needs no second place."""
    b = bench(echo, max_sessions=1)
    b.join("r1")
    b.receive("r1", RobotSide("r1").request(example(1)))
    b.join("r1")
    assert len(b.work()) == 1
    [refused] = b.receive("r2", RobotSide("r2").open())
    assert refused.body.reason == "capacity" and not refused.body.final


def test_a_robot_that_reconnects_replaces_its_own_session(bench: MakeBench, echo: Echo) -> None:
    """A full replica accepts its new epoch, and drops the request of the old one."""
    b = bench(echo, max_sessions=1)
    b.join("r1")
    b.receive("r1", RobotSide("r1").request(example(1)))
    [answer] = b.receive("r1", RobotSide("r1").open(epoch=2))
    assert answer.header.kind is Kind.ACCEPT
    assert b.work() == [], "the request of the old epoch is dropped"


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


def test_the_status_of_many_robots_fits_the_board(bench: MakeBench, echo: Echo) -> None:
    """300 sessions take less than 8 KiB."""
    b = bench(echo, max_sessions=500, max_batch=2)
    b.join(*(f"robot-with-quite-a-long-name-{i}" for i in range(300)))
    status = b.service.status(0)
    assert len(msgspec.msgpack.encode(status)) < 8 * 1024
    assert status["mode"] == "shared" and status["checkpoint"] == "echo"
    assert set(status["batch_ms"]) == {"1", "2"}
    assert status["counts"]["accepted"] == 300


def test_a_distant_robot_reduces_the_capacity(bench: MakeBench, echo: Echo) -> None:
    """Its delay, without the time at this replica, is the round-trip time."""
    b = bench(echo, max_batch=1, buffer_time_s=0.1)
    b.join("r1")
    spec = echo.spec
    half_s = spec.chunk_size / spec.fps / 2

    def carried(delay_steps: int, seq: int) -> int:
        seen = dataclasses.replace(example(seq), delay_steps=delay_steps)
        now_ns = time.monotonic_ns()
        b.receive("r1", RobotSide("r1").request(seen, seq=seq), now_ns)
        b.work(now_ns)
        b.runner.times[1] = half_s / 10  # a round of ten fits into half a chunk
        return b.service.capacity()

    near = carried(0, seq=1)
    assert near > 0
    assert carried(spec.chunk_size // 2 - 1, seq=2) < near
    assert carried(spec.chunk_size - 1, seq=3) == 0, "its chunks come too late for any round"
    assert carried(0, seq=4) == near


def test_robots_beyond_the_capacity_are_given_a_pace_before_one_is_refused(
    bench: MakeBench, echo: Echo
) -> None:
    """Every reply has it; once none would make room, the next robot is refused."""
    b = bench(echo, max_batch=1, max_sessions=9)
    chunk_s = echo.spec.chunk_size / echo.spec.fps

    def pace_s(seq: int) -> float:
        now_ns = time.monotonic_ns()
        b.receive("r1", RobotSide("r1").request(example(seq), seq=seq), now_ns)
        b.runner.times[1] = b.runner.fastest[1] = chunk_s / 6
        [(_, reply)] = b.work(now_ns)
        return float(reply.body.interval_s)

    b.join("r1")
    assert pace_s(1) == 0
    b.join("r2", "r3")
    assert 0 < pace_s(2) <= chunk_s / 2 + 0.01, "three sixths are half a chunk"
    b.runner.fastest[1] = chunk_s / 6
    [refused] = b.receive("r4", RobotSide("r4").open())
    assert refused.header.kind is Kind.REJECT
    assert "slowest rate" in refused.body.message
