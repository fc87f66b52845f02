"""What a V4L2 device offers is read as linux/videodev2.h lays it out. A fake stands in for the
kernel's ioctl; the file that is opened is a real one."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from holdfast.robot.cameras import v4l2

ENUM_FMT, ENUM_FRAMESIZES = 0xC0405602, 0xC02C564A


def kernel(fd: int, request: int, block: bytearray) -> None:
    """Two formats: MJPG with two sizes, YUYV with a range of them."""
    (index,) = struct.unpack_from("=I", block)
    if request == ENUM_FMT:
        assert len(block) == 64 and struct.unpack_from("=I", block, 4) == (1,)
        names = [b"MJPG", b"YUYV"]
        if index >= len(names):
            raise OSError(22, "EINVAL")
        struct.pack_into("=32s4s", block, 12, b"a description", names[index])
        return
    assert request == ENUM_FRAMESIZES and len(block) == 44
    fourcc = bytes(block[4:8])
    sizes = [(640, 480), (1280, 720)]
    if fourcc == b"MJPG" and index < len(sizes):
        struct.pack_into("=I2I", block, 8, 1, *sizes[index])
    elif fourcc == b"YUYV" and index == 0:
        struct.pack_into("=I6I", block, 8, 3, 160, 1920, 16, 120, 1080, 8)
    else:
        raise OSError(22, "EINVAL")


def test_the_sizes_of_every_format_are_listed(tmp_path: Path) -> None:
    """Discrete ones one by one, ranges with their steps."""
    device = tmp_path / "video0"
    device.touch()
    assert v4l2.sizes(device, kernel) == (
        "MJPG 640x480 1280x720; YUYV 160x120 to 1920x1080 in steps of 16x8"
    )


@pytest.mark.parametrize("path", ["absent", "file", "zero\0byte"])
def test_what_is_no_v4l2_device_offers_nothing(tmp_path: Path, path: str) -> None:
    """No error: it is asked for the sake of a message."""
    (tmp_path / "file").touch()
    assert v4l2.sizes(Path(f"{tmp_path}/{path}")) == ""


def test_a_device_without_a_link_has_its_own_path(tmp_path: Path) -> None:
    """As where udev makes no links, or the device is gone."""
    assert v4l2.stable_path(tmp_path / "video0") == tmp_path / "video0"
    assert v4l2.device_of(3) == v4l2.device_of("3") == Path("/dev/video3")
    assert v4l2.device_of("/dev/v4l/by-id/x") == Path("/dev/v4l/by-id/x")
