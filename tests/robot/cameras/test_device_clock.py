"""Instants of other clocks, as instants of the monotonic one."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from holdfast.robot.cameras.device_clock import DeviceClock

MS = 1_000_000


@given(
    zero_ns=st.integers(0, 10**18),
    drift_ppm=st.floats(-50, 50),
    late_ms=st.lists(st.floats(0, 80), min_size=2, max_size=200),
)
def test_jitter_of_the_transfer_is_not_in_the_instants(
    zero_ns: int, drift_ppm: float, late_ms: list[float]
) -> None:
    """Instants keep the device's own intervals and never lie after their arrival."""
    clock = DeviceClock()
    start_ns, period_ns = 7_000 * 10**9, 33 * MS
    promptest = late_ms.index(min(late_ms))
    instants = []
    for n, late in enumerate(late_ms):
        taken_ns = start_ns + n * period_ns
        device_ns = zero_ns + round(n * period_ns * (1 + drift_ppm / 1e6))
        arrival_ns = taken_ns + round(late * MS)
        instants.append(clock.monotonic_ns(device_ns, arrival_ns))
        assert instants[-1] <= arrival_ns
    for n in range(promptest + 1, len(late_ms)):
        assert abs(instants[n] - instants[n - 1] - period_ns) < 1 * MS


def test_a_device_that_was_started_anew_has_a_new_zero() -> None:
    """The old offset would put its frames into the past."""
    clock = DeviceClock()
    for n in range(5):
        clock.monotonic_ns(10**15 + n * 33 * MS, n * 33 * MS)
    assert clock.monotonic_ns(5 * MS, 1000 * MS) == 1000 * MS
