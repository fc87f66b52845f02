"""What can be wrong with the recording of a robot, and with the folder that it records to."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from ...errors import DatasetError, Fault, RobotError
from ...robot.dataset.dataset_info import INFO, read_info
from ...robot.dataset.dataset_place import cannot_write, other_content
from ..recorder.strategy_settings import (
    DaggerSettings,
    EpisodicSettings,
    SentrySettings,
    TeleopSettings,
)
from .hosts import is_here
from .robot_entry import RobotEntry
from .schema import FleetFile
from .specs import robot_spec

if TYPE_CHECKING:
    from ...robot.dataset.recording_schema import RecordingSchema

NEEDED = ("pyarrow", "av")
RECORD = "add e.g. `record: {root: data/pick}`"


def record_faults(fleet: FleetFile, robot: RobotEntry, path: str) -> Iterator[Fault]:
    """Of the robot at `path`."""
    yield from _strategy(robot, path)
    if robot.record is None:
        return
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing and is_here(fleet, robot.host):
        yield Fault(
            f"{path}.record",
            f"recording needs {' and '.join(missing)}, which {_are(missing)} not installed here",
            remedy="`pip install 'holdfast[data]'`",
        )
    yield from _upload(fleet, robot, path)
    if robot.record.archive_codec and isinstance(robot.strategy, SentrySettings):
        yield Fault(
            f"{path}.record.archive_codec",
            "videos are transcoded while no episode is recorded, and 'sentry' always records one",
            remedy="remove it; `actorctl dataset transcode` does it when the fleet has stopped",
        )
    if robot.fps != int(robot.fps):
        yield Fault(
            f"{path}.fps",
            f"{robot.fps:g}: a recorded dataset has a whole number of frames per second",
            remedy=f"use {round(robot.fps)}, or remove `record`",
        )
    for name, camera in robot.cameras.items():
        for key, size in (("width", camera.width), ("height", camera.height)):
            if size % 2:
                yield Fault(
                    f"{path}.cameras.{name}.{key}",
                    f"{size}: a recorded video needs an even number of pixels",
                    remedy=f"use {size + 1}, or remove `record`",
                )


def place_faults(fleet: FleetFile, robot: RobotEntry, path: str) -> Iterator[Fault]:
    """Why the robot at `path` cannot record to the folder that it names, which is looked at."""
    if robot.record is None:
        return
    root = Path(robot.record.root)
    remedy = "record to another root"
    if found := other_content(root) or cannot_write(root):
        yield Fault(f"{path}.record.root", found, remedy=remedy)
    elif (root / INFO).exists() and find_spec("pyarrow") is not None:
        try:
            if misfit := _schema(fleet, robot).misfit(read_info(root)):
                found = f"{root} has episodes of another kind: {misfit}"
                yield Fault(f"{path}.record.root", found, remedy=remedy)
        except DatasetError as error:
            yield Fault(f"{path}.record.root", str(error), remedy=remedy)
        except (RobotError, ValueError):
            return  # the driver's own fault is said elsewhere


def _schema(fleet: FleetFile, robot: RobotEntry) -> RecordingSchema:
    from ...robot.dataset.recording_schema import RecordingSchema

    own, names = robot_spec(fleet, robot), robot.rename
    return RecordingSchema(
        fps=round(robot.fps),
        state_names=tuple(names.get(name, name) for name in own.state_names),
        action_names=tuple(names.get(name, name) for name in own.action_names),
        cameras={names.get(n, n): (each.height, each.width) for n, each in robot.cameras.items()},
    )


def _upload(fleet: FleetFile, robot: RobotEntry, path: str) -> Iterator[Fault]:
    """What an upload of its episodes lacks."""
    if robot.record is None or robot.record.upload == "never":
        return
    repo_id = robot.record.repo_id
    if repo_id is None or repo_id.count("/") != 1:
        yield Fault(
            f"{path}.record.repo_id",
            f"{repo_id!r}: an upload needs the name of a repository",
            remedy="name one, e.g. `repo_id: lab/pick`",
        )
    if robot.record.upload == "deferred" and isinstance(robot.strategy, SentrySettings):
        yield Fault(
            f"{path}.record.upload",
            "'deferred' waits until no episode is recorded, and 'sentry' always records one",
            remedy="use `upload: continuous`",
        )
    if find_spec("huggingface_hub") is None and is_here(fleet, robot.host):
        yield Fault(
            f"{path}.record.upload",
            "uploading needs huggingface_hub, which is not installed here",
            remedy="`pip install 'holdfast[data,hub]'`",
        )


def _strategy(robot: RobotEntry, path: str) -> Iterator[Fault]:
    """What the robot's strategy lacks."""
    if robot.strategy == "base":
        return
    kind = str(robot.strategy.__struct_config__.tag)
    if robot.record is None and kind != "base":
        yield Fault(
            f"{path}.strategy", f"{kind!r} records, and `record` does not say where", remedy=RECORD
        )
    if isinstance(robot.strategy, TeleopSettings | DaggerSettings) and robot.teleop is None:
        remedy = "name one, e.g. `teleop: {driver: keyboard}`"
        found = f"{kind!r} needs a teleoperator: a person commands the robot"
        yield Fault(f"{path}.teleop", found, remedy=remedy)
    if isinstance(robot.strategy, EpisodicSettings | DaggerSettings) and not robot.service:
        found = f"{kind!r} needs a policy"
        yield Fault(f"{path}.service", found, remedy="name a service, or use `type: teleop`")


def _are(names: list[str]) -> str:
    return "is" if len(names) == 1 else "are"
