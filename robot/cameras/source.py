"""What OpenCV's camera reads, and its options."""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from typing import Annotated

from msgspec import Meta

from ...errors import Fault
from ..base import Options
from .pixels import PixelFormat


class Source(Enum):
    """What a camera's pictures come from."""

    DEVICE = "device"
    FILE = "file"
    STREAM = "stream"

    @classmethod
    def of(cls, source: int | str) -> Source:
        """By its name: a number or /dev/..., an address with `://`, else a file."""
        text = str(source)
        if text.isdigit() or text.startswith("/dev/"):
            return cls.DEVICE
        return cls.STREAM if "://" in text else cls.FILE


Format = Annotated[
    PixelFormat | None,
    Meta(description="of the pixels that the source delivers; bgr is OpenCV's own"),
]
Range = Annotated[
    tuple[float, float] | None,
    Meta(description="[near, far] of depth, in the device's units, e.g. [200, 2000] millimetres"),
]


class PixelOptions(Options, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Of every camera whose pixels are converted here."""

    format: Format = None
    depth_range: Range = None

    def conflicts(self) -> Iterator[Fault]:
        near_far = self.depth_range
        if near_far is not None and self.format is not PixelFormat.DEPTH:
            found = "has no effect: only depth has a range"
            yield Fault("depth_range", found, remedy="remove it, or write `format: depth`")
        elif near_far is None and self.format is PixelFormat.DEPTH:
            remedy = "add `depth_range: [near, far]` in the device's units"
            yield Fault("format", "depth is made grey, which needs its range", remedy=remedy)
        elif near_far is not None and not 0 <= near_far[0] < near_far[1] <= 65535:
            yield Fault("depth_range", f"found {list(near_far)}", "0 <= near < far <= 65535")


class OpenCVOptions(PixelOptions, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Of a camera that OpenCV reads. What is None was not given; see `OpenCVCamera`."""

    source: Annotated[
        int | str,
        Meta(
            description="a device's number or path (best one below /dev/v4l/by-id, which stays the "
            "camera's own), a video file, or a stream's address"
        ),
    ]
    loop: Annotated[bool | None, Meta(description="of a file: begin again at its end")] = None
    timeout_s: (
        Annotated[float, Meta(gt=0, le=60, description="seconds, more than 0 and at most 60")]
        | None
    ) = None
    exposure: (
        Annotated[float, Meta(gt=0, le=1e6, description="in the units of the device's driver")]
        | None
    ) = None
    fourcc: (
        Annotated[
            str,
            Meta(
                pattern=r"^[ -~]{4}\Z",
                description="how a device sends its pictures: four characters, e.g. MJPG or YUYV",
            ),
        ]
        | None
    ) = None

    def conflicts(self) -> Iterator[Fault]:
        yield from super().conflicts()
        kind = Source.of(self.source)
        if isinstance(self.source, int) and self.source < 0:
            yield Fault("source", f"no device has the number {self.source}", "0 or more")
        obeyed = {
            Source.DEVICE: ("timeout_s", "exposure", "fourcc"),
            Source.FILE: ("loop",),
            Source.STREAM: ("timeout_s",),
        }[kind]
        for name in ("loop", "timeout_s", "exposure", "fourcc"):
            if getattr(self, name) is not None and name not in obeyed:
                found = (
                    f"has no effect: source {self.source!r} is a {kind.value}, which obeys "
                    f"{', '.join(obeyed)}"
                )
                yield Fault(name, found, remedy="remove it")
