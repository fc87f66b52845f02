"""Small recordings for tests: the same number gives the same episode."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from holdfast.robot.dataset.dataset_writer import DatasetWriter
from holdfast.robot.dataset.episode_recording import EpisodeRecording
from holdfast.robot.dataset.recording_schema import RecordingSchema, Row

SCHEMA = RecordingSchema(
    fps=30,
    state_names=("x", "y", "yaw"),
    action_names=("x", "y"),
    cameras={"top": (48, 64), "wrist": (32, 32)},
    robot_type="sim",
)
SMALL = RecordingSchema(30, ("x",), ("x",), {"top": (16, 16)})
FRONT = "observation.images.front"
BLIND = RecordingSchema(30, ("x",), ("x",), {})


def grey(frame: int) -> int:
    """The grey value of a camera's frame."""
    return 16 + 5 * frame % 224


def row(schema: RecordingSchema, number: int, frame: int) -> Row:
    """Row `frame` of episode `number`."""
    random = np.random.default_rng(1000 * number + frame)
    images: dict[str, tuple[NDArray[np.uint8], int] | None] = {
        name: (np.full((*size, 3), grey(frame), np.uint8), 10**9 * number + frame)
        for name, size in schema.cameras.items()
    }
    return Row(
        state=random.normal(size=len(schema.state_names)).astype(np.float32),
        action=random.normal(size=len(schema.action_names)).astype(np.float32),
        task=f"task {number % 3}",
        session=7,
        seq=frame // 3,
        step=frame % 3,
        latency_s=0.05 + frame / 100,
        intervention=frame % 4 == 3,
        images=images,
    )


def record(writer: DatasetWriter, number: int, length: int) -> EpisodeRecording:
    """An episode in progress with all its rows."""
    recording = writer.begin()
    for frame in range(length):
        recording.add(row(writer.schema, number, frame))
    return recording


def dataset(
    root: Path, schema: RecordingSchema = SCHEMA, lengths: tuple[int, ...] = (5, 8)
) -> None:
    """Write a whole dataset."""
    writer = DatasetWriter(root, "r1", schema)
    for number, length in enumerate(lengths):
        writer.commit(record(writer, number, length), success=bool(number % 2))
    writer.close()


def store_images(root: Path) -> None:
    """Make a dataset of BLIND one with the camera `front`, whose images are in the rows, as LeRobot
    writes it without videos: PNG, whose grey values say their frames."""
    path = root / "meta" / "info.json"
    info = json.loads(path.read_text())
    names = ["height", "width", "channels"]
    info["features"][FRONT] = {"dtype": "image", "shape": [24, 32, 3], "names": names, "info": None}
    path.write_text(json.dumps(info))
    for rows in root.glob("data/*/*.parquet"):
        table = pq.read_table(rows, partitioning=None)
        images = []
        for frame in table.column("frame_index").to_pylist():
            _, png = cv2.imencode(".png", np.full((24, 32, 3), grey(frame), np.uint8))
            images.append({"bytes": png.tobytes(), "path": f"{frame}.png"})
        pq.write_table(table.append_column(FRONT, pa.array(images)), rows)
    for rows in root.glob("meta/episodes/*/*.parquet"):
        table = pq.read_table(rows, partitioning=None)
        pq.write_table(table.drop_columns(["data/crc32"]), rows)


def add_episode(root: Path, schema: RecordingSchema, number: int) -> None:
    """One more, of five rows, to a dataset that is there."""
    writer = DatasetWriter(root, "r1", schema)
    writer.commit(record(writer, number, 5))
    writer.close()
