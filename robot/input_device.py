"""`InputDevice`: a gamepad or joystick by the kernel's event interface.

The interface is that of linux/input.h (`struct input_event`, the EVIOC requests), as x86 and ARM
number it. It takes fewer lines than the packages for it, which are compiled at their installation,
are worth on a robot's computer.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from ..errors import RobotError

DEV, SYS = Path("/dev"), Path("/sys")
EV_SYN, EV_KEY, EV_ABS = 0, 1, 3
SYN_REPORT, SYN_DROPPED = 0, 3
EVENT = struct.Struct("@llHHi")
"""Seconds, microseconds, type, code, value."""
_AXIS = struct.Struct("@6i")
_KEY_BYTES, _ABS_BYTES = 96, 8
_PADS = range(0x120, 0x140)
"""The codes of the buttons that joysticks and gamepads have, and nothing else."""
_AT_ONCE = 64


class Axis(NamedTuple):
    """What the kernel says of an axis: `value` now, its range, and about its middle how far it may
    be off at rest."""

    value: int
    minimum: int
    maximum: int
    fuzz: int = 0
    flat: int = 0
    resolution: int = 0


@dataclass(frozen=True)
class Described:
    """A device that is plugged in, as /sys describes it: no permission is needed for that."""

    path: Path
    name: str
    is_gamepad: bool


class InputDevice:
    """An open device, whose state is that of the last `read`. `axes` and `keys` are by their codes;
    `refresh` reads them anew from the kernel, None where that is not possible."""

    def __init__(
        self,
        descriptor: int,
        name: str,
        axes: Mapping[int, Axis],
        keys: Mapping[int, bool],
        refresh: Callable[[], tuple[dict[int, Axis], dict[int, bool]]] | None = None,
    ) -> None:
        self.name = name
        self.axes, self.keys = dict(axes), dict(keys)
        self._descriptor, self._refresh = descriptor, refresh
        self._rest = b""
        self._dropped = False

    def read(self) -> list[int]:
        """Take over what happened since the last call, without waiting; the codes of the keys that
        went down, in order. Raises RobotError when the device is gone."""
        down: list[int] = []
        while data := self._next():
            data = self._rest + data
            whole = len(data) - len(data) % EVENT.size
            self._rest = data[whole:]
            for _, _, kind, code, value in EVENT.iter_unpack(data[:whole]):
                self._take(kind, code, value, down)
        return down

    def close(self) -> None:
        """Close it. Idempotent."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _next(self) -> bytes:
        try:
            data = os.read(self._descriptor, _AT_ONCE * EVENT.size)
        except BlockingIOError:
            return b""
        except OSError as error:
            if error.errno == errno.ENODEV:
                raise RobotError(f"{self.name} was unplugged") from error
            raise RobotError(f"{self.name} cannot be read: {error.strerror}") from error
        if not data:
            raise RobotError(f"{self.name} was unplugged")
        return data

    def _take(self, kind: int, code: int, value: int, down: list[int]) -> None:
        if kind == EV_SYN and code == SYN_DROPPED:
            self._dropped = True
        elif kind == EV_SYN and self._dropped:
            # What came between is incomplete: the kernel's buffer was full.
            self._dropped = False
            if self._refresh is not None:
                self.axes, self.keys = self._refresh()
        elif self._dropped:
            pass
        elif kind == EV_ABS and code in self.axes:
            self.axes[code] = self.axes[code]._replace(value=value)
        elif kind == EV_KEY and code in self.keys:
            if value == 1:
                down.append(code)
            self.keys[code] = value != 0


def open_device(path: Path) -> InputDevice:
    """Raises RobotError where there is none, or where this user may not read it."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except PermissionError as error:
        raise RobotError(
            f"{path} is not accessible to this user: `sudo usermod -aG input $USER`, then log in "
            "anew"
        ) from error
    except OSError as error:
        raise RobotError(f"{path} cannot be opened: {error.strerror}") from error
    try:
        name = _request(descriptor, 0x06, 256).split(b"\0")[0].decode(errors="replace")
        return InputDevice(
            descriptor, name or str(path), *_state(descriptor), lambda: _state(descriptor)
        )
    except OSError as error:
        os.close(descriptor)
        raise RobotError(f"{path} is no input device: {error.strerror}") from error


def plugged_in(dev: Path = DEV, sys: Path = SYS) -> dict[Path, Described]:
    """Each input device by the name that stays its own (`input/by-id`) where it has one, else by
    its file."""
    links = {}
    for link in sorted((dev / "input" / "by-id").glob("*-event-*"), reverse=True):
        links[link.resolve()] = link
    found = {}
    for path in sorted((dev / "input").glob("event*"), key=lambda p: (len(p.name), p.name)):
        about = sys / "class" / "input" / path.name / "device"
        try:
            name = (about / "name").read_text().strip()
            keys = (about / "capabilities" / "key").read_text()
        except OSError:
            name, keys = path.name, "0"
        described = Described(path, name, any(code in _PADS for code in bits_of(keys)))
        found[links.get(path.resolve(), path)] = described
    return found


def bits_of(words: str) -> set[int]:
    """The bits that are set in a bitmap of /sys: hexadecimal words of a long each, the highest
    first."""
    width = 8 * struct.calcsize("@l")
    value = 0
    for word in words.split():
        value = value << width | int(word, 16)
    return {bit for bit in range(value.bit_length()) if value >> bit & 1}


def request_code(number: int, size: int) -> int:
    """Of a reading EVIOC request: `_IOC(_IOC_READ, 'E', number, size)`."""
    return 2 << 30 | size << 16 | ord("E") << 8 | number


def _state(descriptor: int) -> tuple[dict[int, Axis], dict[int, bool]]:
    axes = {
        code: Axis(*_AXIS.unpack(_request(descriptor, 0x40 + code, _AXIS.size)))
        for code in _set_bits(_request(descriptor, 0x20 + EV_ABS, _ABS_BYTES))
    }
    down = _set_bits(_request(descriptor, 0x18, _KEY_BYTES))
    there = _set_bits(_request(descriptor, 0x20 + EV_KEY, _KEY_BYTES))
    return axes, {code: code in down for code in there}


def _set_bits(mask: bytes) -> set[int]:
    return {8 * k + bit for k, byte in enumerate(mask) for bit in range(8) if byte >> bit & 1}


def _request(descriptor: int, number: int, size: int) -> bytes:
    buffer = bytearray(size)
    fcntl.ioctl(descriptor, request_code(number, size), buffer)
    return bytes(buffer)
