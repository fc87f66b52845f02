"""The benchmark's own arithmetic: how many robots a device with known times carries."""

from __future__ import annotations

import json

import numpy as np
import pytest

from holdfast.actors.inference.capacity import Load, capacity
from holdfast.policy.base import PolicySpec
from holdfast.tools.bench import batch
from holdfast.tools.bench.bare_service import BUFFER_TIME_S
from holdfast.tools.bench.simulated_load import carried, simulate

SPEC = PolicySpec(
    model="m",
    revision="1",
    cameras=(),
    state_names=(),
    action_names=("x",),
    chunk_size=48,
    fps=30.0,
)


def device(first_s: float, each_s: float, max_batch: int = 4) -> dict[int, list[float]]:
    return {b: [first_s + each_s * b] for b in range(1, max_batch + 1)}


def test_a_robot_alone_waits_for_the_model_only() -> None:
    """Every latency of one simulated robot is the model's own time."""
    latencies = simulate(1, device(0.02, 0.01), "deadline", 1.6)
    assert latencies == pytest.approx(np.full(len(latencies), 0.03))


@pytest.mark.parametrize("first_s", [0.0, 0.02, 0.1])
def test_batching_never_carries_fewer_robots_than_one_at_a_time(first_s: float) -> None:
    """For devices that gain from batches and those that do not."""
    times = device(first_s, 0.02)
    assert carried(times, "deadline", SPEC) >= carried(times, "round_robin", SPEC)


def test_a_device_without_batches_carries_what_fills_it() -> None:
    """Each robot needs 50 ms in every 1.1 s: 22 of them, and not one more."""
    assert carried(device(0.0, 0.05), "round_robin", SPEC) == 22


def test_the_published_capacity_is_carried_with_room_to_spare() -> None:
    """The simulation carries at least the capacity by formula, and not much more."""
    times = device(0.03, 0.01)
    rate = 1 / (SPEC.chunk_size / SPEC.fps - BUFFER_TIME_S)
    planned = capacity({b: t[0] for b, t in times.items()}, Load(rate, SPEC.chunk_size / SPEC.fps))
    assert 0 < planned <= carried(times, "deadline", SPEC) <= 1.6 * planned


def test_the_batch_benchmark_lists_the_rows_that_need_a_gpu(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Rows that could not be measured are named, and none is made up."""
    monkeypatch.setattr(batch, "has_gpu", lambda: False)
    monkeypatch.setattr(batch, "rows", lambda *asked: [])
    monkeypatch.setattr("sys.argv", ["batch", "--policy", "shape-only", "--threads", "1"])
    assert batch.main() == 0
    assert "left out: pi0-*: needs a GPU, this ran on the cpu" in capsys.readouterr().out
    monkeypatch.setattr("sys.argv", ["batch", "--json", "--policy", "shape-only"])
    assert batch.main() == 0
    report = json.loads(capsys.readouterr().out)
    assert report["rows"] == [] and len(report["left_out"]) == 1


def test_a_gpu_that_is_not_there_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """--device cuda without a GPU ends the benchmark with the reason."""
    monkeypatch.setattr(batch, "has_gpu", lambda: False)
    monkeypatch.setattr("sys.argv", ["batch", "--device", "cuda"])
    with pytest.raises(SystemExit):
        batch.main()
    assert "no CUDA device" in capsys.readouterr().err
