"""`VideoEncoder`: one camera's images into an mp4, while they come.

The picture format is yuv420p, without B-frames, and frame k has the instant k/fps exactly. While
recording, the container is fragmented, so that what is on disk can be played whatever happens;
`make_plain` copies it into a plain one without encoding anew.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

from ...errors import DatasetError
from .encoding import ArchiveCodec, Codec, Encoding
from .ordinary_priority import ordinary_priority

_ENCODERS: dict[str, tuple[str, ...]] = {
    "h264": ("libx264",),
    # Hardware first, each probed; those that take pictures from main memory.
    "auto": ("h264_nvenc", "h264_qsv", "h264_videotoolbox", "h264_v4l2m2m", "libx264"),
    "hevc": ("libx265",),
    "av1": ("libsvtav1",),
}
SETTINGS: dict[str, dict[str, str]] = {
    "libx264": {"preset": "veryfast"},
    "libx265": {"preset": "ultrafast", "x265-params": "log-level=none:bframes=0:pools=none"},
    "h264_nvenc": {"preset": "p4"},
    "libsvtav1": {"preset": "8"},
}
PIXELS = "yuv420p"
CODEC, PIXEL_FORMAT = "video.codec", "video.pix_fmt"
"""Keys of a camera's `info` in meta/info.json."""
_PROBE = (128, 256)

# SVT-AV1 writes its settings to stderr otherwise; errors are left.
os.environ.setdefault("SVT_LOG", "1")


@dataclass(frozen=True)
class VideoFacts:
    """What `make_plain` found: frames, and the entries of meta/info.json about the video."""

    frames: int
    info: dict[str, object]


class VideoEncoder:
    """Writes to `path`, which it creates. `frames` were given to it, `packets` written. Raises
    DatasetError where no encoder works, and OSError from any call when the disk does not take it.
    """

    def __init__(self, path: Path, height: int, width: int, fps: int, encoding: Encoding) -> None:
        self.path, self.frames, self.packets = path, 0, 0
        self.name = choose(encoding.codec)
        # An own file: errors of writing come out as they are, and at once.
        self._file = path.open("xb", buffering=0)
        with as_os_error(path):
            self._container = av.open(
                self._file,
                "w",
                format="mp4",
                options={"movflags": "frag_keyframe+empty_moov+default_base_moof"},
            )
            stream = self._container.add_stream(self.name, rate=Fraction(fps))
            assert isinstance(stream, av.VideoStream)
            _configure(stream, self.name, height, width, fps, encoding)
        self._stream = stream
        self._base = Fraction(1, fps)
        # One frame and one converter for all pictures: a fresh frame's memory is not in the cache,
        # and a fresh converter computes its tables again, which together takes as long as half of
        # the encoding.
        self._frame = av.VideoFrame(width, height, "rgb24")
        plane: Any = self._frame.planes[0]
        rows = np.frombuffer(plane, np.uint8)[: height * plane.line_size].reshape(height, -1)
        self._pixels: NDArray[np.uint8] = rows[:, : 3 * width]
        self._converter = VideoReformatter()

    def add(self, image: NDArray[np.uint8]) -> None:
        """Encode the next frame, uint8 [height, width, 3] RGB."""
        np.copyto(self._pixels, image.reshape(self._pixels.shape))
        self._frame.pts, self._frame.time_base = self.frames, self._base
        with as_os_error(self.path):
            self._write(self._converter.reformat(self._frame, format=PIXELS))
        self.frames += 1

    def close(self) -> None:
        """Write what the encoder still holds, and end the file."""
        try:
            with as_os_error(self.path):
                self._write(None)
                self._container.close()
        finally:
            self._file.close()

    def _write(self, frame: av.VideoFrame | None) -> None:
        for packet in self._stream.encode(frame):
            self._container.mux(packet)
            self.packets += 1

    def discard(self) -> None:
        """End without caring for the content, also after an error."""
        try:
            self._container.close()
        except (av.FFmpegError, OSError):
            # The disk is full, or the folder is gone: the file is deleted anyway.
            pass
        finally:
            self._file.close()


def make_plain(fragmented: Path, plain: Path) -> VideoFacts:
    """Copy the frames of `fragmented` into a plain mp4, with its index first."""
    frames = 0
    with as_os_error(plain), av.open(str(fragmented)) as source:
        video = source.streams.video[0]
        with av.open(str(plain), "w", format="mp4", options={"movflags": "faststart"}) as target:
            stream = target.add_stream_from_template(video, opaque=True)
            stream.time_base = video.time_base
            for packet in source.demux(video):
                if packet.dts is None:
                    continue
                packet.stream = stream
                target.mux(packet)
                frames += 1
        rate = video.base_rate
        return VideoFacts(
            frames,
            {
                "video.height": video.height,
                "video.width": video.width,
                CODEC: video.codec.canonical_name,
                PIXEL_FORMAT: PIXELS,
                "video.fps": int(rate) if rate is not None else 0,
                "video.channels": 3,
                "has_audio": False,
                "is_depth_map": False,
            },
        )


@cache
def choose(codec: Codec | ArchiveCodec) -> str:
    """The first encoder for `codec` that encodes a frame here. Raises DatasetError if none does."""
    refused = []
    for name in _ENCODERS[codec]:
        reason = _fault(name)
        if reason is None:
            return name
        refused.append(f"{name}: {reason}")
    remedy = "remove archive_codec" if codec == "av1" else "use codec: h264"
    raise DatasetError(f"no encoder for {codec} works here ({'; '.join(refused)}); {remedy}")


def _fault(name: str) -> str | None:
    """Why the encoder cannot be used; None when it has encoded a frame."""
    height, width = _PROBE
    try:
        context = av.CodecContext.create(name, "w")
        assert isinstance(context, av.VideoCodecContext)
        context.width, context.height, context.pix_fmt = width, height, PIXELS
        context.time_base = Fraction(1, 30)
        context.options = dict(SETTINGS.get(name, {}))
        frame = av.VideoFrame(width, height, PIXELS)
        frame.pts, frame.time_base = 0, context.time_base
        with ordinary_priority():
            packets = [*context.encode(frame), *context.encode(None)]
    except (av.FFmpegError, ValueError, OSError) as error:
        return str(error)
    return None if packets else "it made no packet of a frame"


def _configure(
    stream: av.VideoStream, name: str, height: int, width: int, fps: int, encoding: Encoding
) -> None:
    quality = "crf" if name.startswith("lib") else "qp"
    stream.options = {**SETTINGS.get(name, {}), quality: str(encoding.quality)}
    stream.width, stream.height, stream.pix_fmt = width, height, PIXELS
    context = stream.codec_context
    context.time_base = Fraction(1, fps)
    context.thread_count = encoding.threads
    context.max_b_frames = 0
    context.gop_size = encoding.key_every


@contextmanager
def as_os_error(path: Path) -> Iterator[None]:
    """FFmpeg's errors of the system as OSError, all others as DatasetError."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error
    except av.FFmpegError as error:
        raise DatasetError(f"{path} cannot be written: {error}") from error
