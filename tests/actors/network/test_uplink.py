"""The limit of a robot's uplink: it holds, quality gives way before the rate, and comes back."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.actors.network.uplink import FLOOR, WINDOW_NS, Uplink
from holdfast.robot.sim.cell import ConveyorCell
from holdfast.robot.sim.draw import draw
from holdfast.transport.images import Pixels, decode_jpeg, encode_jpeg, resize

MS = 1_000_000
S = 1000 * MS


class SimulatedRobot:
    """A robot that wants a request every so often; its images have `sizes` by quality, which vary
    with what they show. `sent`: instant, size and quality of each request."""

    def __init__(self, max_kbps: float | None, quality: int = 90) -> None:
        self.uplink = Uplink(max_kbps, quality)
        self.now_ns = 0
        self.total = 0
        self.scene = 1.0
        self.beats = 0
        self.sent: list[tuple[int, int, int]] = []
        self.waited_at: list[int] = []

    def size(self) -> int:
        """Roughly as JPEG: not what the controller expects."""
        quality = self.uplink.quality
        return 800 + round(self.scene * 50_000 * (0.15 + 0.85 * (quality / 90) ** 3))

    def want(self, after_ms: int) -> None:
        """Let the plan last so long, and then ask, every 100 ms until a request goes out."""
        self._pass(after_ms)
        while not self._ask():
            self._pass(100)

    def _pass(self, ms: int) -> None:
        self.now_ns += ms * MS
        self.total += self.beats * ms // 500
        self.uplink.measured(self.total, self.now_ns)

    def _ask(self) -> bool:
        if self.uplink.wait_ns(self.now_ns):
            self.waited_at.append(self.uplink.quality)
            return False
        size = self.size()
        while not self.uplink.fits(size, self.now_ns):
            if not self.uplink.lower(size, self.now_ns):
                self.waited_at.append(self.uplink.quality)
                return False
            size = self.size()
        self.sent.append((self.now_ns, size, self.uplink.quality))
        self.uplink.sent(size, self.now_ns)
        self.total += size
        return True


gaps = st.lists(st.integers(20, 3000), min_size=5, max_size=60)
scenes = st.sampled_from([0.2, 0.5, 1.0, 2.0])


@given(st.integers(40, 4000), st.lists(st.tuples(st.integers(20, 3000), scenes), max_size=80))
def test_the_limit_holds_over_every_window_and_no_request_waits_above_the_lowest_quality(
    max_kbps: int, wanted: list[tuple[int, float]]
) -> None:
    """A request that is larger alone has the link to itself for as long as it takes."""
    robot = SimulatedRobot(max_kbps)
    for gap_ms, robot.scene in wanted:
        robot.want(gap_ms)
    budget = max_kbps * 125 * WINDOW_NS // S
    for k, (begin_ns, *_) in enumerate(robot.sent):
        window = [sent for sent in robot.sent[k:] if sent[0] < begin_ns + WINDOW_NS]
        assert len(window) == 1 or sum(size for _, size, _ in window) <= budget
    for (before_ns, _, _), (after_ns, size, _) in pairwise(robot.sent):
        if size > budget:
            assert (after_ns - before_ns) * max_kbps * 125 >= size * S
    assert set(robot.waited_at) <= {FLOOR}
    assert all(FLOOR <= quality <= 90 for _, _, quality in robot.sent)


@given(gap_ms=st.integers(200, 2500), scene=scenes, max_kbps=st.integers(50, 3000))
def test_under_steady_conditions_quality_and_rate_settle_near_the_limit(
    gap_ms: int, scene: float, max_kbps: int
) -> None:
    """The quality is the configured one, or at least half of the limit is used, evenly."""
    robot = SimulatedRobot(max_kbps)
    robot.scene = scene
    for _ in range(60):
        robot.want(gap_ms)
    last = robot.sent[-20:]
    qualities = [quality for _, _, quality in last]
    assert max(qualities) - min(qualities) <= 5
    spacing = [after[0] - before[0] for before, after in pairwise(last)]
    assert max(spacing) - min(spacing) <= 101 * MS
    used = robot.uplink.kbps(robot.now_ns)
    one_request = robot.sent[-1][1] * 8e-3 / (WINDOW_NS / S)
    if robot.uplink.limited == "quality":
        assert used >= max_kbps / 2 - one_request
    elif not robot.uplink.limited:
        assert min(qualities) == 90


def test_the_quality_recovers() -> None:
    """When the images are small again, or the robot asks less often."""
    robot = SimulatedRobot(300)
    for _ in range(20):
        robot.want(500)
    assert robot.uplink.quality < 80 and robot.uplink.limited == "quality"
    for _ in range(40):
        robot.want(2500)
    assert robot.uplink.quality == 90 and not robot.uplink.limited
    robot.scene = 4.0
    for _ in range(20):
        robot.want(500)
    assert (robot.uplink.quality, robot.uplink.limited) == (FLOOR, "rate")
    assert robot.uplink.waits > 0
    robot.scene = 0.1
    for _ in range(40):
        robot.want(500)
    assert robot.uplink.quality == 90 and not robot.uplink.limited


def test_without_a_limit_nothing_is_lowered_and_all_is_measured() -> None:
    """The figures are those of the last five seconds."""
    robot = SimulatedRobot(None)
    for _ in range(20):
        robot.want(100)
    assert {quality for _, _, quality in robot.sent} == {90} and not robot.waited_at
    assert robot.uplink.request_bytes == 50_800
    assert robot.uplink.kbps(robot.now_ns) == pytest.approx(20 * 50_800 * 8 / 5 / 1000)


def test_heartbeats_count_too() -> None:
    """What they take is not left for images."""
    alone, beaten = SimulatedRobot(400), SimulatedRobot(400)
    beaten.beats = 10_000
    for robot in (alone, beaten):
        for _ in range(40):
            robot.want(800)
    assert beaten.uplink.kbps(beaten.now_ns) <= 400
    assert beaten.sent[-1][1] < alone.sent[-1][1]


def test_a_quality_below_the_floor_is_left_as_it_is() -> None:
    """The floor is no reason to send more than was configured."""
    robot = SimulatedRobot(100, quality=20)
    for _ in range(30):
        robot.want(300)
    assert {quality for _, _, quality in robot.sent} == {20}


def photographs() -> list[Pixels]:
    """Three crops of a photograph, of 640 x 480 or less."""
    path = Path(mpl.get_data_path()) / "sample_data/grace_hopper.jpg"
    whole = decode_jpeg(path.read_bytes(), 512, 600)
    return [np.ascontiguousarray(whole[top : top + 384]) for top in (0, 100, 216)]


def drawn() -> list[Pixels]:
    """What three cameras of a simulated cell see."""
    scene = ConveyorCell(3).scene()
    return [draw(name, scene) for name in ("overhead", "wrist", "overhead")]


@pytest.mark.parametrize("seen", [photographs, drawn])
def test_three_cameras_at_224_take_at_most_60_kb_at_the_usual_quality(
    seen: Callable[[], list[Pixels]],
) -> None:
    """At the lowest quality a third of that."""
    small = [resize(image, 224, 224) for image in seen()]
    assert 20_000 < sum(len(encode_jpeg(image, 90)) for image in small) <= 60_000
    assert sum(len(encode_jpeg(image, FLOOR)) for image in small) <= 20_000
