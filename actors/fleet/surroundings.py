"""What a fleet needs of the machine that it runs on: files, keys, devices, and PyTorch.

Each check is of one host, and none opens hardware. Nothing here imports torch: what
a GPU is there is asked of a short process of the interpreter that will run the replica.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from ...errors import Fault, FleetError, PolicyError, RobotError
from ...policy.checkpoint import check_whole
from ..inference.user_policy import is_own
from ..runtime import interpreters
from . import device_checks, telemetry_checks
from .client_checks import client_secret_faults
from .key_checks import key_faults
from .loading import placed
from .places import Place, places, places_on
from .pool_checks import ray_missing
from .record_checks import place_faults
from .robot_entry import RobotEntry
from .schema import FleetFile
from .service_checks import WITHOUT_NETWORK, of_policy
from .service_entry import ServiceEntry
from .specs import policy_spec

PATIENCE_S = 120.0
"""For importing torch from a cold disk."""

_ASK_TORCH = """
import json, torch
cuda = torch.cuda.device_count() if torch.cuda.is_available() else 0
mps = torch.backends.mps.is_available()
print(json.dumps({"version": torch.__version__, "built": torch.version.cuda, "cuda": cuda,
    "mps": mps}))
"""


def faults_here(fleet: FleetFile, host: str | None) -> list[Fault]:
    """What is missing or damaged on this machine, the `host` of `fleet`, and needs a person."""
    robots = [(i, robot) for i, robot in enumerate(fleet.robots) if robot.host == host]
    found = [*_interpreters(fleet, host), *_policies(fleet, host), *key_faults(fleet, host)]
    found += [*client_secret_faults(fleet, host), *telemetry_checks.faults(fleet)]
    found += ray_missing(fleet, host)
    for i, robot in robots:
        found += _files(robot, f"$.robots[{i}]")
        found += _processors(robot, f"$.robots[{i}]")
        found += place_faults(fleet, robot, f"$.robots[{i}]")
    return found


def devices_missing(fleet: FleetFile, host: str | None) -> list[Fault]:
    """The serial ports and cameras of this machine that are absent or not accessible. They may be
    plugged in later: drivers and sensors wait for them."""
    return [
        fault
        for i, robot in enumerate(fleet.robots)
        if robot.host == host
        for fault in device_checks.missing(robot, f"$.robots[{i}]")
    ]


def require(fleet: FleetFile, host: str | None, source: Path, strict: bool = False) -> list[Fault]:
    """See that `fleet`, from the file `source`, can start on its `host`, this machine. Raises
    FleetError; returns what is missing and may come later, which `strict` forbids too."""
    faults, later = faults_here(fleet, host), devices_missing(fleet, host)
    if not faults and not later:
        return []
    text = source.read_text(encoding="utf-8")
    if faults or (strict and later):
        raise FleetError(str(source), placed(text, [*faults, *(later if strict else ())]))
    return placed(text, later)


def checked_elsewhere(fleet: FleetFile, host: str | None) -> dict[str, list[str]]:
    """What `faults_here` of other hosts than `host` would look for: GPUs and interpreters, by
    host."""
    found: dict[str, dict[str, None]] = {}
    for service in fleet.services.values():
        for place in places(service):
            if place.host in (host, None):
                continue
            wanted = [place.device] if place.device != "cpu" else []
            wanted += [place.python] if place.python else []
            found.setdefault(place.host, {}).update(dict.fromkeys(wanted))
    return {other: list(wanted) for other, wanted in found.items() if wanted}


def interpreters_named(fleet: FleetFile, host: str | None) -> Iterator[tuple[str, str]]:
    """The interpreters of `host` that `fleet` names: the place in the file, and the path."""
    for name, service in fleet.services.items():
        found = {place.python_at: place.python for place in places_on(service, host)}
        yield from ((f"$.services.{name}{at}", python) for at, python in found.items() if python)
    for i, robot in enumerate(fleet.robots):
        if robot.host != host:
            continue
        if robot.python is not None:
            yield f"$.robots[{i}].python", robot.python
        for name, camera in robot.cameras.items():
            if camera.python is not None:
                yield f"$.robots[{i}].cameras.{name}.python", camera.python


def _interpreters(fleet: FleetFile, host: str | None) -> Iterator[Fault]:
    for place, python in interpreters_named(fleet, host):
        if unusable := interpreters.unusable(python):
            yield Fault(place, unusable)


def _policies(fleet: FleetFile, host: str | None) -> Iterator[Fault]:
    torch: dict[str, dict[str, Any] | str] = {}
    for name, service in fleet.services.items():
        found = places_on(service, host)
        if not found or service.policy in WITHOUT_NETWORK:
            continue
        path = f"$.services.{name}"
        if is_own(service.policy):
            yield from _own_policy(fleet, service, path, found)
            continue
        assert service.checkpoint is not None, "a fleet without it has a fault"
        try:
            check_whole(service.checkpoint)
        except PolicyError as error:
            yield Fault(f"{path}.checkpoint", str(error))
        lacking: set[str] = set()
        for place in found:
            python = place.python or sys.executable
            if python in lacking or (place.python and interpreters.unusable(python)):
                continue
            missing = interpreters.lacks(python, ("torch", "safetensors"))
            if missing:
                lacking.add(python)
                yield Fault(
                    f"{path}.policy",
                    f"{service.policy!r} needs {' and '.join(missing)}, not installed for {python}",
                    remedy=f"`{python} -m pip install 'holdfast[policy]'`",
                )
            elif place.device != "cpu":
                torch[python] = torch.get(python) or _torch(python)
                yield from _device(f"{path}{place.at}.device", place.device, torch[python])


def _own_policy(
    fleet: FleetFile, service: ServiceEntry, path: str, found: list[Place]
) -> Iterator[Fault]:
    """What the interpreters of the user's policy lack for it, where they can be asked."""
    for place in found:
        if place.python is not None and interpreters.unusable(place.python):
            continue
        try:
            policy_spec(fleet, service, place)
        except PolicyError as error:
            yield of_policy(place, path, str(error))
        else:
            torch = "" if place.device == "cpu" else _torch(place.python or sys.executable)
            if isinstance(torch, dict):
                yield from _device(f"{path}{place.at}.device", place.device, torch)


def _torch(python: str) -> dict[str, Any] | str:
    """What PyTorch of the interpreter `python` finds on this machine, or why it cannot be asked."""
    try:
        done = subprocess.run(
            [python, "-P", "-c", _ASK_TORCH],
            check=False,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"torch cannot be asked: {error}"
    try:
        answer: dict[str, Any] = json.loads(done.stdout.strip().rpartition("\n")[2])
    except ValueError:
        last = done.stderr.strip().rpartition("\n")[2] or f"exit status {done.returncode}"
        return f"torch cannot be imported: {last}"
    return answer


def _device(path: str, device: str, torch: dict[str, Any] | str) -> Iterator[Fault]:
    """Why a replica could not compute on `device`."""
    if isinstance(torch, str):
        yield Fault(path, f"found {device!r}; {torch}")
    elif device == "mps":
        if not torch["mps"]:
            found = "found 'mps', which only Apple's machines have"
            yield Fault(path, found, remedy="use cpu")
    elif int(device.partition(":")[2] or 0) < torch["cuda"]:
        return
    elif torch["built"] is None:
        yield Fault(
            path,
            f"found {device!r}; torch {torch['version']} is built without CUDA",
            remedy="install one with it (https://pytorch.org/get-started), or use cpu",
        )
    elif torch["cuda"] == 0:
        yield Fault(
            path,
            f"found {device!r}; torch {torch['version']} sees no GPU",
            remedy="see `nvidia-smi` and CUDA_VISIBLE_DEVICES, or use cpu",
        )
    else:
        last = torch["cuda"] - 1
        there = f"GPUs here are cuda:0 to cuda:{last}" if last else "only GPU here is cuda:0"
        yield Fault(path, f"found {device!r}; the {there}")


def _files(robot: RobotEntry, path: str) -> Iterator[Fault]:
    """Video files that stand in for cameras: present, readable, a video, and of the right size."""
    for name, camera in robot.cameras.items():
        if camera.driver != "opencv":
            continue
        from ...robot.cameras.opencv_camera import OpenCVCamera
        from ...robot.cameras.source import OpenCVOptions, Source

        options = msgspec.convert(camera.options, OpenCVOptions)
        if Source.of(options.source) is not Source.FILE:
            continue
        at, file = f"{path}.cameras.{name}.options.source", Path(str(options.source))
        try:
            with file.open("rb"):
                pass
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) else error
            found = f"the video file {file} cannot be read ({why})"
            yield Fault(at, found, remedy="mend its path or mode")
            continue
        video = OpenCVCamera.of(options, camera.width, camera.height, camera.fps)
        try:
            video.open()
        except RobotError as error:
            yield Fault(at, str(error))
        finally:
            video.close()


def _processors(robot: RobotEntry, path: str) -> Iterator[Fault]:
    there = os.sched_getaffinity(0)
    for processor in robot.timing.affinity or ():
        if processor not in there:
            shown = ", ".join(map(str, sorted(there)))
            found = f"there is no processor {processor} for this user"
            yield Fault(f"{path}.timing.affinity", found, remedy=f"there are: {shown}")
