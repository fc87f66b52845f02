"""`rebuilt_info`: meta/info.json from the files of rows and the videos, and what of it cannot be
known from them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ...errors import DatasetError
from .dataset_info import OWN, VERSION, VIDEO_PATH
from .embedded_info import embedded

_DTYPES = {"float": "float32", "double": "float64"}


def rebuilt_info(root: Path) -> tuple[dict[str, Any], list[str]]:
    """The content, without counts, and sentences for a person. Raises DatasetError where no file
    of rows can be read."""
    path, table = _first_rows(root)
    said = [f"meta/info.json was rebuilt from {path.relative_to(root)}"]
    known = embedded(path)
    if known is None:
        known = {"features": _columns(table), "fps": _fps(table), "robot_type": None}
        said.append(f"fps is {known['fps']:g}, from the timestamps")
        vectors = [key for key, of in known["features"].items() if of["shape"] != [1]]
        said.append(
            f"not known: the kind of robot, and the names of the parts of {', '.join(vectors)}"
            if vectors
            else "not known: the kind of robot"
        )
    features = known["features"]
    missing = [key for key in OWN if key not in features]
    if missing:
        raise DatasetError(f"{path} lacks the columns {', '.join(missing)} that every dataset has")
    for folder in sorted((root / "videos").glob("*")):
        if folder.is_dir():
            features[folder.name] = {**features.get(folder.name, {}), **_video(folder)}
    made = {
        "codebase_version": VERSION,
        "chunks_size": 1000,
        "data_files_size_in_mb": 100,
        "video_files_size_in_mb": 200,
        "data_path": "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet",
        "video_path": VIDEO_PATH if (root / "videos").is_dir() else None,
        **known,
    }
    return made, said


def _first_rows(root: Path) -> tuple[Path, pa.Table]:
    for path in sorted(root.glob("data/chunk-*/file-*.parquet")):
        try:
            with pq.ParquetFile(path) as file:
                if file.num_row_groups and len(table := file.read_row_group(0)) > 1:
                    return path, table
        except (OSError, pa.ArrowException):
            continue  # another one may be whole
    raise DatasetError(f"{root}: no file of data can be read, so that nothing can be rebuilt")


def _columns(table: pa.Table) -> dict[str, Any]:
    return {name: _column(table.column(name).combine_chunks()) for name in table.column_names}


def _column(values: pa.Array) -> dict[str, Any]:
    if isinstance(values, pa.ExtensionArray):
        values = values.storage
    kind, shape = values.type, []
    while pa.types.is_list(kind) or pa.types.is_fixed_size_list(kind):
        parts = values.flatten()
        shape.append(len(parts) // max(len(values), 1))
        values, kind = parts, parts.type
    if pa.types.is_struct(kind):
        picture = cv2.imdecode(np.frombuffer(values[0]["bytes"].as_py(), np.uint8), 1)
        if picture is None:
            raise DatasetError("the first image cannot be decoded, so that its size is not known")
        names = ["height", "width", "channels"]
        return {"dtype": "image", "shape": list(picture.shape), "names": names}
    return {"dtype": _DTYPES.get(str(kind), str(kind)), "shape": shape or [1], "names": None}


def _fps(table: pa.Table) -> float:
    steps_s = np.diff(table.column("timestamp").to_numpy().astype(np.float64))
    fps = 1.0 / float(np.median(steps_s[steps_s > 0]))
    return round(fps) if abs(fps - round(fps)) < 0.01 * fps else round(fps, 3)


def _video(folder: Path) -> dict[str, Any]:
    for path in sorted(folder.glob("chunk-*/file-*.mp4")):
        try:
            with av.open(str(path)) as container:
                video = container.streams.video[0]
                facts = {
                    "video.height": video.height,
                    "video.width": video.width,
                    "video.codec": video.codec.canonical_name,
                    "video.pix_fmt": video.pix_fmt,
                    "video.fps": float(video.average_rate or 0),
                    "video.channels": 3,
                    "has_audio": False,
                    "is_depth_map": False,
                }
                return {
                    "dtype": "video",
                    "shape": [video.height, video.width, 3],
                    "names": ["height", "width", "channels"],
                    "info": facts,
                }
        except (av.FFmpegError, IndexError, OSError):
            continue  # another one may be whole
    raise DatasetError(f"no video in {folder} can be read, so that its size is not known")
