"""`FeetechBus`: motors on one bus, and the packets that they answer.

A packet is `FF FF id length instruction parameters checksum`, where `length` counts what follows it
and the checksum is the inverted sum of all between the header and itself; an answer has the motor's
error bits in place of the instruction. Source: Feetech's communication protocol manual
(https://www.feetechrc.com/Data/feetechrc/upload/file/20201127/start%20%20tutorial201015.pdf).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from holdfast.tests.feetech.sts3215 import STATUS, Sts3215

PING, READ, WRITE, REG_WRITE, ACTION = 1, 2, 3, 4, 5
SYNC_READ, SYNC_WRITE = 0x82, 0x83
BROADCAST = 0xFE
_LEAST = 6


def checksum(body: bytes) -> int:
    """Of the bytes from the motor's number to the last parameter."""
    return ~sum(body) & 0xFF


def packet(number: int, second: int, parameters: bytes = b"") -> bytes:
    """A request (`second` is its instruction) or an answer (`second` are its error bits)."""
    body = bytes((number, len(parameters) + 2, second)) + parameters
    return b"\xff\xff" + body + bytes((checksum(body),))


class FeetechBus:
    """`motors` by number; `wrote(motor, address, data)` is told each write before it is done."""

    def __init__(
        self,
        motors: dict[int, Sts3215],
        wrote: Callable[[int, int, bytes], None] = lambda *_: None,
    ) -> None:
        self.motors = motors
        self._wrote = wrote
        self._arrived = b""
        self._prepared: dict[int, tuple[int, bytes]] = {}

    def receive(self, data: bytes, now_ns: int) -> list[bytes]:
        """The answers to the requests that `data` completes. A damaged request has none."""
        self._arrived += data
        return [
            answer
            for number, instruction, parameters in self._requests()
            for answer in self._obey(number, instruction, parameters, now_ns)
        ]

    def forget(self) -> None:
        """The line was cut: half a request is none."""
        self._arrived = b""

    def _requests(self) -> Iterator[tuple[int, int, bytes]]:
        while True:
            start = self._arrived.find(b"\xff\xff")
            if start < 0:
                self._arrived = self._arrived[-1:]
                return
            self._arrived = self._arrived[start:]
            if len(self._arrived) < _LEAST or len(self._arrived) < self._arrived[3] + 4:
                return
            length = self._arrived[3] + 4
            body, check = self._arrived[2 : length - 1], self._arrived[length - 1]
            self._arrived = self._arrived[length:]
            if checksum(body) == check:
                yield body[0], body[2], body[3:]

    def _obey(
        self, number: int, instruction: int, parameters: bytes, now_ns: int
    ) -> Iterator[bytes]:
        for motor in self.motors.values():
            motor.move(now_ns)
        match instruction:
            case 0x82:  # SYNC_READ
                address, size = parameters[:2]
                for each in parameters[2:]:
                    if each in self.motors:
                        yield self._answer(each, self._read(each, address, size))
            case 0x83:  # SYNC_WRITE
                address, size = parameters[:2]
                for at in range(2, len(parameters), size + 1):
                    self._write(parameters[at], address, parameters[at + 1 : at + 1 + size])
            case 5:  # ACTION
                for each, (address, data) in self._prepared.items():
                    self._write(each, address, data)
                self._prepared = {}
            case _:
                yield from self._ask(number, instruction, parameters)

    def _ask(self, number: int, instruction: int, parameters: bytes) -> Iterator[bytes]:
        asked = self.motors if number == BROADCAST else [number]
        for each in asked:
            if each not in self.motors:
                continue
            match instruction:
                case 1:  # PING
                    yield self._answer(each)
                case 2:  # READ
                    yield self._answer(each, self._read(each, *parameters))
                case 3:  # WRITE
                    self._write(each, parameters[0], parameters[1:])
                    yield self._answer(each)
                case 4:  # REG_WRITE
                    self._prepared[each] = parameters[0], parameters[1:]
                    yield self._answer(each)

    def _read(self, number: int, address: int, size: int) -> bytes:
        return bytes(self.motors[number].memory[address : address + size])

    def _write(self, number: int, address: int, data: bytes) -> None:
        if number in self.motors:
            self._wrote(number, address, data)
            self.motors[number].write(address, data)

    def _answer(self, number: int, data: bytes = b"") -> bytes:
        return packet(number, self.motors[number].get(STATUS), data)
