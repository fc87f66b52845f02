"""What a V4L2 device offers, and the path by which it is found again."""

from __future__ import annotations

import contextlib
import fcntl
import os
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

BY_ID = Path("/dev/v4l/by-id")
"""Where udev links each camera by its maker, model and serial number."""

# Numbers and layouts of linux/videodev2.h.
_CAPTURE = 1
_ENUM_FMT = 0xC0405602
_ENUM_FRAMESIZES = 0xC02C564A
_FORMAT = struct.Struct("=III32s4sI12x")
_SIZE = struct.Struct("=I4sI24s8x")
_DISCRETE = 1
_MOST = 64
"""Formats of a device, and sizes of a format, that are asked for."""

Ioctl = Callable[[int, int, bytearray], object]


def sizes(device: Path, ioctl: Ioctl = fcntl.ioctl) -> str:
    """The sizes that `device` offers, in words by pixel format: `MJPG 640x480 1280x720; YUYV
    640x480`. Empty where it cannot be asked: it is absent, busy, or no V4L2 device."""
    try:
        fd = os.open(device, os.O_RDWR | os.O_NONBLOCK)
    except (OSError, ValueError):
        return ""
    try:
        rows = (
            f"{name} {' '.join(_sizes(fd, fourcc, ioctl))}" for name, fourcc in _formats(fd, ioctl)
        )
        return "; ".join(rows)
    finally:
        os.close(fd)


def device_of(source: int | str) -> Path:
    """The file of a device given by its number or path."""
    return Path(f"/dev/video{source}" if str(source).isdigit() else str(source))


def stable_path(device: Path) -> Path:
    """The link in BY_ID that leads to `device`, by which the same camera is found again after it
    was unplugged; `device` itself where there is none."""
    with contextlib.suppress(OSError):
        target = device.resolve(strict=True)
        for link in sorted(BY_ID.iterdir()):
            if link.resolve() == target:
                return link
    return device


def _formats(fd: int, ioctl: Ioctl) -> Iterator[tuple[str, bytes]]:
    for index in range(_MOST):
        block = bytearray(_FORMAT.pack(index, _CAPTURE, 0, b"", b"", 0))
        try:
            ioctl(fd, _ENUM_FMT, block)
        except OSError:
            return
        fourcc = _FORMAT.unpack(block)[4]
        yield fourcc.decode("ascii", "replace").strip(), fourcc


def _sizes(fd: int, fourcc: bytes, ioctl: Ioctl) -> Iterator[str]:
    for index in range(_MOST):
        block = bytearray(_SIZE.pack(index, fourcc, 0, b""))
        try:
            ioctl(fd, _ENUM_FRAMESIZES, block)
        except OSError:
            return
        _, _, kind, union = _SIZE.unpack(block)
        numbers = struct.unpack("=6I", union)
        if kind == _DISCRETE:
            yield f"{numbers[0]}x{numbers[1]}"
        else:
            least_w, most_w, step_w, least_h, most_h, step_h = numbers
            yield f"{least_w}x{least_h} to {most_w}x{most_h} in steps of {step_w}x{step_h}"
            return
