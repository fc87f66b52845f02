"""Limits of the machine that are too small are reported before any actor starts."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.actors.runtime.spec import ActorSpec, Member, SegmentUse
from holdfast.actors.supervision import headroom
from holdfast.actors.supervision.headroom import BARE, Room, found, needs, shortfalls

AMOUNTS = st.integers(0, 10**6).map(float) | st.just(headroom.UNLIMITED)
ROOMS = st.builds(
    Room, descriptors=AMOUNTS, processes=AMOUNTS, address_mb=AMOUNTS, shm_bytes=AMOUNTS
)
WORDS = {
    "descriptors": "open files",
    "processes": "processes",
    "address_mb": "address space",
    "shm_bytes": "shared memory",
}


def actor(
    name: str, *segments: tuple[str, int], kind: str = "control", **more: object
) -> ActorSpec:
    uses = tuple(SegmentUse(segment, size) for segment, size in segments)
    return ActorSpec(kind=kind, member=Member(name), config={}, segments=uses, **more)  # type: ignore[arg-type]


@given(need=ROOMS, have=ROOMS)
def test_shortfalls_name_each_limit_that_is_too_small_and_no_other(need: Room, have: Room) -> None:
    """A sentence gives what was found and what is needed, for each short limit and no other."""
    sentences = shortfalls(need, have)
    short = [name for name in WORDS if getattr(have, name) < getattr(need, name)]
    assert [sentence.partition(":")[0] for sentence in sentences] == [WORDS[name] for name in short]
    for name, sentence in zip(short, sentences, strict=True):
        for room in (need, have):
            amount = getattr(room, name) / (1e6 if name == "shm_bytes" else 1)
            shown = f"{amount:.1f}" if name == "shm_bytes" else f"{amount:.0f}"
            assert f" {shown} " in sentence


@given(count=st.integers(1, 40), spares=st.integers(0, 8))
def test_a_larger_fleet_needs_more_and_shared_memory_is_counted_once(
    count: int, spares: int
) -> None:
    """Needs grow with actors and spares; a segment that actors share counts once."""
    fleet = [
        actor(f"a{i}", ("shared", 1000), (f"a{i}/board", 10), warm="m", spares=spares)
        for i in range(count)
    ]
    need, larger = needs(fleet), needs([*fleet, actor("b", ("b/board", 10))])
    assert need.shm_bytes == 1000 + 10 * count
    assert need.processes == BARE.processes + 3 * count + min(count, spares)
    assert larger.descriptors > need.descriptors and larger.processes > need.processes


def test_the_limits_of_this_machine_are_read() -> None:
    """`found` returns this process's limits, all positive."""
    here = found()
    assert here.descriptors == resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    assert here.shm_bytes > 0 and here.processes > 0 and here.address_mb > 0


@pytest.mark.parametrize(
    ("limit", "value", "sentences"),
    [
        (resource.RLIMIT_NOFILE, 64, "open files: 64 are allowed"),
        (resource.RLIMIT_AS, 300_000_000, "address space: 300 MB are allowed"),
    ],
)
def test_a_start_under_a_small_limit_is_refused_in_a_sentence(
    limit: int, value: int, sentences: str, tmp_path: Path
) -> None:
    """Exit status 2, the limit with what is needed, and neither errno nor traceback."""
    fleet = tmp_path / "fleet.yaml"
    fleet.write_text("name: tight\nservices: {}\nrobots: []\n")
    process = subprocess.run(
        [sys.executable, "-m", "holdfast.tools.cli.supervisor_command", "start", str(fleet)],
        check=False,
        preexec_fn=lambda: resource.setrlimit(limit, (value, value)),
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert process.returncode == 2
    assert sentences in process.stderr and "needed" in process.stderr
    assert "Traceback" not in process.stderr and "Errno" not in process.stderr
