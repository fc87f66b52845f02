"""`decode`: the frames of one episode out of an mp4, in order."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from ...errors import DatasetError

Image = NDArray[np.uint8]


def decode(path: Path, instants_s: NDArray[np.float64], fps: float) -> Iterator[Image]:
    """One image, uint8 [height, width, 3] RGB, for each of `instants_s`, which rise.

    Each is the frame whose instant in the file is within half a frame of the wanted one; as in
    lerobot (`decode_video_frames`), instants count from the file's first frame. Raises DatasetError
    where there is none.
    """
    tolerance_s = 0.5 / fps
    wanted = iter(instants_s.tolist())
    target_s = next(wanted, None)
    if target_s is None:
        return
    count = 0
    try:
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            base = stream.time_base
            assert base is not None
            # To the key frame before: what lies between is decoded and skipped.
            container.seek(max(round(target_s / base) - 1, 0), stream=stream, backward=True)
            for frame in container.decode(stream):
                if frame.pts is None:
                    continue
                at_s = float(frame.pts * base)
                if at_s < target_s - tolerance_s:
                    continue
                if at_s > target_s + tolerance_s:
                    break
                yield np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)
                count += 1
                target_s = next(wanted, None)
                if target_s is None:
                    return
    except (av.FFmpegError, IndexError) as error:
        raise DatasetError(f"{path} cannot be decoded: {error}") from error
    raise DatasetError(
        f"{path} has no frame at {target_s:.3f} s: {count} frames of an episode of "
        f"{len(instants_s)} were found"
    )
