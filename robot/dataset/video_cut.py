"""`cut`: an episode's frames out of an mp4 that may have those of others, without encoding anew."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import av

from ...errors import DatasetError


def cut(path: Path, from_s: float, to_s: float, fps: float) -> tuple[bytes, float]:
    """An mp4 with the frames from `from_s` to before `to_s`, and the instant of the first of them
    in it: those from the key frame before are there too. Raises DatasetError."""
    half_s = 0.5 / fps
    made = BytesIO()
    start: int | None = None
    found = False
    try:
        with av.open(str(path)) as source, av.open(made, "w", format="mp4") as target:
            video = source.streams.video[0]
            base = video.time_base
            assert base is not None
            stream = target.add_stream_from_template(video, opaque=True)
            stream.time_base = base
            source.seek(round((from_s + half_s) / base), stream=video, backward=True)
            for packet in source.demux(video):
                if packet.dts is None or packet.pts is None:
                    continue
                # Packets come in the order of decoding; none is shown before it is decoded.
                if packet.dts * base >= to_s - half_s:
                    break
                if start is None:
                    start = packet.pts
                found = found or packet.pts * base >= from_s - half_s
                packet.pts, packet.dts = packet.pts - start, packet.dts - start
                packet.stream = stream
                target.mux(packet)
        if start is None or not found:
            raise DatasetError(f"{path} has no frame from {from_s:.3f} s to {to_s:.3f} s")
    except (av.FFmpegError, IndexError) as error:
        raise DatasetError(f"{path} cannot be cut: {error}") from error
    return made.getvalue(), from_s - float(start * base)
