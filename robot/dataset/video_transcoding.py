"""`transcode`: the frames of one video encoded anew, and compared with what they were.

Every frame keeps its instant. What was made is decoded again, beside the source: the number of
frames and their instants must be the same, and no picture may differ by more than `TOLERANCE` in
the mean of its values; else it is encoded again with a better quality.

Not guaranteed: anything but one stream of 8-bit yuv420p, as recorders write it; another is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

import av
import cv2
from av.container import InputContainer

from ...errors import DatasetError
from .encoding import Archiving
from .ordinary_priority import ordinary_priority
from .video_encoder import CODEC, PIXEL_FORMAT, PIXELS, SETTINGS, as_os_error, choose

TOLERANCE = 6.0
"""Of 255: the mean difference of a picture's red, green and blue values."""

_BETTER = 8
"""By how much the CRF is lowered for a video that came out too different."""
_BEST = 2
_TOLERANCE_S = 1e-5
_READABLE = {PIXELS, "yuvj420p"}


@dataclass(frozen=True)
class Transcoded:
    """What became of a video: the CRF that it took, the largest difference of a picture (mean of
    its values, of 255), and the entries of meta/info.json that have changed."""

    frames: int
    quality: int
    difference: float
    info: dict[str, object]


class _TooDifferentError(Exception):
    """Another quality may do."""


def codec_of(path: Path) -> str:
    """The name of a video's codec, such as h264, from the file's header. Raises DatasetError."""
    container, video = _opened(path)
    with container:
        return video.codec.canonical_name


def transcode(
    source: Path, target: Path, archiving: Archiving, pause: Callable[[], None] = lambda: None
) -> Transcoded:
    """Write the frames of `source` to `target`, and verify it; `pause` is called before each frame.
    `target` is not yet synchronized. Raises DatasetError for a video that cannot be encoded so, and
    OSError where the disk refuses."""
    quality, why = archiving.quality, ""
    while True:
        _encode(source, target, archiving, quality, pause)
        try:
            frames, difference = _compare(source, target, pause)
        except _TooDifferentError as error:
            why = str(error)
        else:
            info: dict[str, object] = {CODEC: codec_of(target), PIXEL_FORMAT: PIXELS}
            return Transcoded(frames, quality, difference, info)
        if quality <= _BEST:
            raise DatasetError(f"{source} stays as it is: as {archiving.codec}, {why}")
        quality = max(quality - _BETTER, _BEST)


def _encode(
    source: Path, target: Path, archiving: Archiving, quality: int, pause: Callable[[], None]
) -> None:
    name = choose(archiving.codec)
    # The index first, as in the plain file of a recording.
    options = {"movflags": "faststart"}
    given, video = _opened(source)
    with (
        given,
        as_os_error(target),
        ordinary_priority(),
        av.open(str(target), "w", format="mp4", options=options) as made,
    ):
        video.thread_count = archiving.threads
        if video.pix_fmt not in _READABLE:
            raise DatasetError(
                f"{source} stays as it is: its pictures are {video.pix_fmt}, expected {PIXELS}"
            )
        stream = made.add_stream(name, rate=video.average_rate)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = video.width, video.height, PIXELS
        stream.options = {
            **SETTINGS.get(name, {}),
            "crf": str(quality),
            "svtav1-params": f"lp={archiving.threads}",
        }
        context, before = stream.codec_context, video.codec_context
        assert video.time_base is not None
        context.time_base = video.time_base
        context.gop_size = archiving.key_every
        context.color_range, context.colorspace = before.color_range, before.colorspace
        context.color_primaries, context.color_trc = before.color_primaries, before.color_trc
        for frame in _decoded(source, given):
            pause()
            frame.pict_type = av.video.frame.PictureType.NONE
            for packet in stream.encode(frame):
                made.mux(packet)
        for packet in stream.encode(None):
            made.mux(packet)


def _compare(source: Path, target: Path, pause: Callable[[], None]) -> tuple[int, float]:
    """The number of frames, and the largest difference of two pictures. Raises DatasetError where
    frames are missing or at other instants."""
    frames, largest = 0, 0.0
    with _opened(source)[0] as given, _opened(target)[0] as made:
        for old, new in zip_longest(_decoded(source, given), _decoded(target, made)):
            pause()
            if old is None or new is None:
                missing = "more" if old is None else "fewer"
                raise DatasetError(f"{target} has {missing} frames than {source}")
            away_s = abs(_instant_s(old) - _instant_s(new))
            if away_s > _TOLERANCE_S:
                raise DatasetError(
                    f"frame {frames} of {target} is {away_s:.6f} s away from that of {source}"
                )
            pictures = (each.to_ndarray(format="rgb24") for each in (old, new))
            difference = float(cv2.absdiff(*pictures).mean())
            if difference > TOLERANCE:
                raise _TooDifferentError(
                    f"its frame {frames} differs by {difference:.1f} of 255 on average, "
                    f"expected {TOLERANCE:g} at most"
                )
            largest = max(largest, difference)
            frames += 1
    return frames, largest


def _opened(path: Path) -> tuple[InputContainer, av.VideoStream]:
    try:
        container = av.open(str(path))
    except (av.FFmpegError, OSError) as error:
        raise DatasetError(f"{path} cannot be read: {error}") from error
    if not container.streams.video:
        container.close()
        raise DatasetError(f"{path} cannot be read: it has no video")
    return container, container.streams.video[0]


def _decoded(path: Path, container: InputContainer) -> Iterator[av.VideoFrame]:
    try:
        yield from container.decode(video=0)
    except (av.FFmpegError, IndexError) as error:
        raise DatasetError(f"{path} cannot be decoded: {error}") from error


def _instant_s(frame: av.VideoFrame) -> float:
    assert frame.time_base is not None
    return float((frame.pts or 0) * frame.time_base)
