"""`Sts3215`: one servo motor of Feetech's STS series: its registers, and how its shaft moves.

Addresses, sizes, signs and initial values are those of the STS servo memory table
(https://wiki.aifitlab.com/feetech-servo-motor-docs/feetech-sts-servo-memory-table-analysis); the
speed is the datasheet's 45 revolutions per minute. Not modelled: acceleration, current, temperature
as a function of the load, and the modes other than position control.
"""

from __future__ import annotations

STEPS = 4096
"""Of a revolution."""
RAM = 40
"""The first address that a power cut resets; below is the EPROM, kept while `LOCK` is 0 only."""

ID, RETURN_DELAY, P_GAIN, D_GAIN, I_GAIN = 5, 7, 21, 22, 23
MIN_LIMIT, MAX_LIMIT, MAX_TORQUE, PROTECTION_CURRENT, OFFSET = 9, 11, 16, 28, 31
OVERLOAD_TORQUE = 36
TORQUE, GOAL, LOCK, PRESENT, SPEED = 40, 42, 55, 56, 58
VOLTAGE, TEMPERATURE, STATUS, MOVING = 62, 63, 65, 66
SIZES = dict.fromkeys((9, 11, 16, 24, 28, 31, 42, 44, 46, 48, 56, 58, 60, 69, 71), 2)
"""Of the registers that are not one byte."""
SIGNS = {OFFSET: 11, GOAL: 15, PRESENT: 15, SPEED: 15}
"""The bit that is the sign of a register's magnitude."""
READ_ONLY = frozenset({0, 1, 2, 3, 4, *range(PRESENT, 80)})
INITIAL = {0: 3, 1: 10, 3: 9, 4: 3, RETURN_DELAY: 250, 8: 1, MAX_LIMIT: 4095, 13: 70, 14: 80}
INITIAL |= {
    15: 40,
    MAX_TORQUE: 1000,
    18: 12,
    19: 44,
    20: 47,
    P_GAIN: 32,
    D_GAIN: 32,
    24: 16,
    26: 1,
    27: 1,
}
INITIAL |= {PROTECTION_CURRENT: 500, 30: 1, 34: 20, 35: 200, OVERLOAD_TORQUE: 80, 37: 10, 38: 200}
INITIAL |= {39: 10, 48: 1000, LOCK: 1, VOLTAGE: 74, TEMPERATURE: 31, 84: 150, 85: 254}
"""Of the registers that are not 0 when the motor leaves the factory."""
OVERHEATED, OVERLOADED = 4, 32
"""Bits of `STATUS`, which every answer carries too."""


class Sts3215:
    """A motor whose shaft is at `position`, in steps of the encoder. With torque it goes to its
    goal, less `sag` steps for the load that it carries; without, it falls to `rest`."""

    speed = 45 / 60 * STEPS
    fall_speed = 150.0

    def __init__(
        self, number: int, position: float, sag: float = 0.0, rest: float | None = None
    ) -> None:
        self.position = float(position)
        self.sag, self.rest = sag, rest
        self.memory = bytearray(90)
        for address, value in {**INITIAL, ID: number}.items():
            self.put(address, value)
        self._kept = bytes(self.memory[:RAM])
        self._moved_ns = 0

    def get(self, address: int) -> int:
        """The value of a register, with its sign."""
        size = SIZES.get(address, 1)
        value = int.from_bytes(self.memory[address : address + size], "little")
        sign = SIGNS.get(address)
        if sign is None:
            return value
        magnitude = value & ((1 << sign) - 1)
        return -magnitude if value >> sign & 1 else magnitude

    def put(self, address: int, value: int) -> None:
        """Set a register, whoever may write it."""
        size = SIZES.get(address, 1)
        if value < 0:
            value = -value | 1 << SIGNS[address]
        self.memory[address : address + size] = value.to_bytes(size, "little")

    def store(self, **values: int) -> None:
        """What somebody wrote to the EPROM before, by the name of a constant of this module."""
        for name, value in values.items():
            self.put(globals()[name], value)
        self._kept = bytes(self.memory[:RAM])

    def write(self, address: int, data: bytes) -> None:
        """A write that came over the bus."""
        for place, byte in enumerate(data, address):
            if place not in READ_ONLY and place < len(self.memory):
                self.memory[place] = byte
        if not self.get(LOCK):
            self._kept = bytes(self.memory[:RAM])

    def cut_power(self) -> None:
        """And give it back: the torque is off, and what is not in the EPROM is as it was made."""
        self.memory[:RAM] = self._kept
        for address in range(RAM, len(self.memory)):
            self.memory[address] = 0
        for address, value in INITIAL.items():
            if address >= RAM:
                self.put(address, value)

    def fail(self, bit: int) -> None:
        """It reports `bit` from now on; an overheated motor gives up its torque by itself."""
        self.put(STATUS, bit)
        if bit == OVERHEATED:
            self.put(TORQUE, 0)

    def move(self, now_ns: int) -> None:
        """Let the time up to `now_ns` pass."""
        passed_s = (now_ns - self._moved_ns) / 1e9 if self._moved_ns else 0.0
        self._moved_ns = now_ns
        if self.get(TORQUE) == 1:
            low, high = self.get(MIN_LIMIT), self.get(MAX_LIMIT)
            target = min(high, max(low, self.get(GOAL))) + self.get(OFFSET) - self.sag
            self._go(target, self.speed * passed_s)
        elif self.rest is not None:
            self._go(self.rest, self.fall_speed * passed_s)
        self.put(PRESENT, round(self.position) - self.get(OFFSET))

    def _go(self, target: float, most: float) -> None:
        self.position += min(most, max(-most, target - self.position))
