"""The tick log: every tick for a reader that keeps up, a count of the lost ones for one that does
not, and never half a record."""

from __future__ import annotations

import numpy as np
import pytest

from holdfast.actors.control.plan import PlannedAction, Provenance
from holdfast.actors.control.tick_log import TickLog, TickReader

SIZE = 8192


def write(log: TickLog, number: int, played: bool = True) -> None:
    value = np.full(2, number, np.float32)
    mark = np.array([number, 1, number, 3, 4, 0, 0, 0, 0])
    action = PlannedAction(value, value, mark) if played else None
    log.write(number, 10, 3, np.full(3, number, np.float32), value, action, True)


def test_a_reader_gets_every_tick_whole_and_in_order() -> None:
    """None is lost by a reader that keeps up within the ring's length."""
    memory = memoryview(bytearray(SIZE))
    log = TickLog(memory, 3, 2)
    reader = TickReader(memory.toreadonly(), 3, 2)
    for n in range(500):
        write(log, n)
        if n % 7 == 0:
            continue
        for tick in reader.read():
            assert tick.command is not None
            assert (tick.state == tick.number).all() and (tick.command == tick.number).all()
            assert tick.provenance == Provenance(1, tick.number, 3, 4)
            assert (tick.instant_ns, tick.observed_ns) == (tick.number, tick.number)
            last = tick.number
    assert (last, reader.lost) == (499, 0)


@pytest.mark.parametrize(
    ("manual", "moves", "played", "commander"),
    [
        (False, False, True, "policy"),
        (True, False, False, "person"),
        (False, True, False, "motion"),
        (False, False, False, "fallback"),
    ],
)
def test_a_record_says_whose_command_it_has(
    manual: bool, moves: bool, played: bool, commander: str
) -> None:
    """A policy's, a person's, a motion's or the fallback's; that of a tick without one is None."""
    memory = memoryview(bytearray(SIZE))
    log = TickLog(memory, 3, 2)
    reader = TickReader(memory, 3, 2)
    state, value = np.zeros(3, np.float32), np.ones(2, np.float32)
    action = PlannedAction(value, value, np.arange(9)) if played else None
    log.write(1, 0, 3, state, value, action, True, manual, moves=moves)
    log.write(2, 0, 3, state, None, None, True, manual, moves=moves)
    assert [tick.commander for tick in reader.read()] == [commander, None]


def test_a_slow_reader_loses_the_oldest_ticks_and_counts_them() -> None:
    """What it gets are the newest, without a gap."""
    memory = memoryview(bytearray(SIZE))
    log = TickLog(memory, 3, 2)
    reader = TickReader(memory, 3, 2)
    for n in range(1000):
        write(log, n)
    ticks = reader.read()
    assert [t.number for t in ticks] == list(range(1000 - len(ticks), 1000))
    assert reader.lost == 1000 - len(ticks) > 0


def test_a_record_that_is_being_written_is_not_read() -> None:
    """A writer killed in the middle leaves its record's number at 0."""
    memory = memoryview(bytearray(SIZE))
    log = TickLog(memory, 3, 2)
    reader = TickReader(memory, 3, 2)
    write(log, 0)
    log.words[0, 0] = 0
    assert reader.read() == [] and reader.lost == 1


def test_the_next_incarnation_continues_the_log() -> None:
    """Numbers go on, and the readers with them."""
    memory = memoryview(bytearray(SIZE))
    write(TickLog(memory, 3, 2), 0)
    reader = TickReader(memory, 3, 2)
    write(TickLog(memory, 3, 2), 1, played=False)
    (tick,) = reader.read()
    assert tick.number == 1 and tick.provenance is None and tick.command is not None


def test_memory_of_other_sizes_is_refused_by_a_reader_and_formatted_by_a_writer() -> None:
    """ValueError until a writer of the reader's sizes was there."""
    memory = memoryview(bytearray(SIZE))
    with pytest.raises(ValueError, match="no tick log"):
        TickReader(memory, 3, 2)
    write(TickLog(memory, 3, 2), 0)
    with pytest.raises(ValueError, match="no tick log"):
        TickReader(memory, 4, 2)
    TickLog(memory, 4, 2)
    assert TickReader(memory, 4, 2).read() == []
