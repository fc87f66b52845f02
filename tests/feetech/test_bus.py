"""The arm of the tests speaks the protocol of its motors: examples of Feetech's manual."""

from __future__ import annotations

import pytest

from holdfast.tests.feetech.bus import FeetechBus, packet
from holdfast.tests.feetech.sts3215 import GOAL, PRESENT, TORQUE, Sts3215

SECOND = 1_000_000_000


def bus_of(*positions: int) -> FeetechBus:
    """Motors 1, 2, ... at these positions."""
    motors = {number: Sts3215(number, each) for number, each in enumerate(positions, 1)}
    for motor in motors.values():
        motor.move(SECOND)
    return FeetechBus(motors)


@pytest.mark.parametrize(
    ("asked", "answers"),
    [
        ("FF FF 01 02 01 FB", ["FF FF 01 02 00 FC"]),
        ("FF FF 01 04 02 38 02 BE", ["FF FF 01 04 00 18 05 DD"]),
        ("FF FF FE 02 01 FE", ["FF FF 01 02 00 FC", "FF FF 02 02 00 FB"]),
        (
            "FF FF FE 06 82 38 02 01 02 3C",
            ["FF FF 01 04 00 18 05 DD", "FF FF 02 04 00 00 08 F1"],
        ),
        ("FF FF 01 02 01 FA", []),
        ("FF FF 07 02 01 F5", []),
    ],
)
def test_a_request_has_the_answers_of_the_motors_that_it_names(
    asked: str, answers: list[str]
) -> None:
    """Each named motor answers; a damaged request and an absent motor have no answer."""
    bus = bus_of(0x0518, 0x0800)
    data = bytes.fromhex(asked)
    heard = [a for byte in data for a in bus.receive(bytes((byte,)), SECOND)]
    assert heard == [bytes.fromhex(answer) for answer in answers]


def test_a_motor_goes_to_its_goal_at_its_speed_and_only_with_torque() -> None:
    """Written together or prepared and released; the position follows in time."""
    bus = bus_of(1000, 1000)
    bus.receive(packet(0xFE, 0x83, bytes((GOAL, 2, 1, 0xD0, 7, 2, 0xD0, 7))), SECOND)
    bus.receive(packet(2, 4, bytes((TORQUE, 1))), SECOND)
    bus.motors[2].move(2 * SECOND)
    assert bus.motors[2].get(PRESENT) == 1000
    bus.receive(packet(0xFE, 5), 2 * SECOND)
    bus.motors[2].move(2 * SECOND + SECOND // 10)
    assert bus.motors[2].get(PRESENT) == 1000 + round(Sts3215.speed / 10)
    for motor in bus.motors.values():
        motor.move(4 * SECOND)
    assert [motor.get(PRESENT) for motor in bus.motors.values()] == [1000, 2000]
