"""Captures and their replay."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from holdfast.actors.inference.capture import Capture, CapturedBatch, Origin, read
from holdfast.errors import CaptureError
from holdfast.policy.base import ChunkPolicy
from holdfast.policy.checkpoint import read_config, read_stats, read_weights, save
from holdfast.policy.kinds import load_policy
from holdfast.tests.actors.inference.bench import Echo, MakeBench
from holdfast.tests.actors.inference.robot_side import RobotSide, example
from holdfast.tools.cli import replay
from holdfast.tools.cli.replay import run
from holdfast.transport.outbox import Outbox, OutboxReader


@pytest.fixture
def captured(checkpoint: Path, bench: MakeBench, tmp_path: Path) -> Path:
    """A capture of two robots, one by shared memory: four batches of two and one of one."""
    memory = bytearray(Outbox.size_for(64_000))
    outbox = Outbox(memory)
    b = bench(
        load_policy("flow", checkpoint),
        {"r1": OutboxReader(memory)},
        capture_bytes=10_000_000,
        policy="flow",
        checkpoint=str(checkpoint),
    )
    # However long the machine takes, no robot counts as slow, which would be served alone.
    b.runner.times.update(dict.fromkeys(b.runner.times, 3600.0))
    robots = {"r1": RobotSide("r1", outbox), "r2": RobotSide("r2")}
    for name, robot in robots.items():
        b.receive(name, robot.open())
    for seq in range(1, 6):
        for i, (name, robot) in enumerate(robots.items()):
            if seq != 3 or name == "r1":
                given = example(10 * seq + i, delay_steps=seq)
                b.receive(name, robot.request(given, seq=seq, seed=0))
        b.work()
    b.service.close()
    return tmp_path / "capture"


def test_a_capture_is_replayed_byte_for_byte(captured: Path) -> None:
    """Every captured answer, of batches of one and two, is the same in the replay."""
    result = run(captured)
    assert (result.answers, result.batches) == (9, 5)
    assert result.differences == []


def test_a_capture_contains_the_pixels_of_shared_memory(captured: Path) -> None:
    """No captured request refers to shared memory."""
    batches = [r for r in read(captured) if isinstance(r, CapturedBatch)]
    assert [len(b.exchanges) for b in batches] == [2, 2, 1, 2, 2]
    assert not any(b"shm" in e.request[1] for b in batches for e in b.exchanges)


def test_a_replay_with_other_weights_is_refused(captured: Path, tmp_path: Path) -> None:
    """The error names the option that gives the right checkpoint."""
    [origin, *_] = [r for r in read(captured) if isinstance(r, Origin)]
    assert origin.checkpoint is not None
    config, stats = read_config(origin.checkpoint), read_stats(origin.checkpoint)
    weights = {k: np.asarray(v) * 1.01 for k, v in read_weights(origin.checkpoint).items()}
    save(tmp_path / "other", config, stats, weights)
    with pytest.raises(CaptureError, match="--checkpoint"):
        run(captured, checkpoint=str(tmp_path / "other"))


@pytest.mark.parametrize(
    ("kind", "given", "loaded"),
    [
        ("pi05", {"compile": True, "euler_steps": 3}, {"compile": "off", "euler_steps": 3}),
        ("pi0", {"compile": "auto"}, {"compile": "off"}),
        ("pi0", {"compile": "off"}, {"compile": "off"}),
        ("pi05", {}, {}),
        ("mine:Policy", {"compile": "on"}, {"compile": "on"}),
    ],
)
def test_a_compiled_service_is_replayed_eagerly_and_the_replay_says_so(
    kind: str,
    given: dict[str, Any],
    loaded: dict[str, Any],
    captured: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A policy of the user's own may have an option of that name, which stays."""
    records = list(read(captured))
    [origin] = [r for r in records if isinstance(r, Origin)]
    assert origin.checkpoint is not None
    policy, asked = load_policy("flow", origin.checkpoint), []
    records[0] = msgspec.structs.replace(origin, policy=kind, options=given)
    packed = [msgspec.msgpack.encode(r) for r in records]
    captured.write_bytes(b"".join(len(p).to_bytes(4, "little") + p for p in packed))

    def recorded(*words: Any) -> ChunkPolicy:
        asked.append(words[4])
        return policy

    monkeypatch.setattr(replay, "loaded", recorded)
    assert replay.show(captured, None, None) == 0
    assert asked == [loaded]
    said = " ".join(capsys.readouterr().out.split())
    assert ("it was replayed eagerly" in said) == (given != loaded)
    assert "9 of 9 answers are the same" in said


def test_a_replay_finds_a_reply_that_differs_in_one_bit(captured: Path) -> None:
    """The difference names the robot and the request."""
    records = list(read(captured))
    batch = records[2]
    assert isinstance(batch, CapturedBatch)
    reply = batch.exchanges[1].reply
    reply[-1] = reply[-1][:-1] + bytes([reply[-1][-1] ^ 1])
    packed = [msgspec.msgpack.encode(r) for r in records]
    captured.write_bytes(b"".join(len(p).to_bytes(4, "little") + p for p in packed))
    [difference] = run(captured).differences
    assert (difference.robot, difference.seq) == ("r2", 2)


def test_a_capture_with_an_incomplete_last_record_is_read_up_to_it(captured: Path) -> None:
    """All records before the incomplete one are replayed."""
    captured.write_bytes(captured.read_bytes()[:-7])
    assert run(captured).batches == 4


def test_a_capture_is_continued_after_an_incomplete_record(
    captured: Path,
) -> None:
    """The next writer's records are readable after those of a writer that was killed."""
    origin = next(iter(read(captured)))
    captured.write_bytes(captured.read_bytes()[:-7])
    before = list(read(captured))
    assert isinstance(origin, Origin)
    following = Capture(captured, 10_000_000, origin)
    following.batch([], reset=True)
    following.close()
    assert list(read(captured)) == [*before, origin, CapturedBatch([], reset=True)]


def test_a_file_that_is_no_capture_is_refused(tmp_path: Path) -> None:
    """Reading another file raises CaptureError that says so."""
    (tmp_path / "x").write_bytes(b"\x05\x00\x00\x00hello and more")
    with pytest.raises(CaptureError, match="no capture"):
        list(read(tmp_path / "x"))


def test_an_error_of_the_policy_is_replayed_as_the_same_error(
    bench: MakeBench, checkpoint: Path, tmp_path: Path, echo: Echo
) -> None:
    """A captured ERROR equals the one of the replay, byte for byte."""
    from holdfast.actors.inference.capture import replay
    from holdfast.actors.inference.policy_runner import PolicyRunner
    from holdfast.actors.inference.served_session import TaskRule

    b = bench(echo, capture_bytes=1_000_000)
    b.join("r1")
    bad = example(1, state=np.array([-200, 0, 0], np.float32))
    b.receive("r1", RobotSide("r1").request(bad))
    b.work()
    b.service.close()
    [batch] = [r for r in read(tmp_path / "capture") if isinstance(r, CapturedBatch)]
    assert replay(batch, PolicyRunner(echo), TaskRule()) == []
