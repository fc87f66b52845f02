"""The images of a replica's requests: by value, by JPEG, in shared memory."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from holdfast.policy.base import Observation
from holdfast.tests.actors.inference.bench import Echo, MakeBench
from holdfast.tests.actors.inference.robot_side import RobotSide, example
from holdfast.transport.header import Kind
from holdfast.transport.images import resize
from holdfast.transport.outbox import Outbox, OutboxReader

SECOND_NS = 1_000_000_000


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
