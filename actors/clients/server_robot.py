"""The robot that a server of openpi expects, by the options of its service."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from ...errors import PolicyError
from ...policy.base import CameraFeature, PolicySpec
from ...policy.steps import RobotKeys, embodiment_of

Size = tuple[int, int]


class ServerOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where such a server is, and what it does not say. What is None, the embodiment `mapping`
    says; without one, names and fps are needed.

    `cameras` are the keys of its images with their width and height, `names` what robots call them
    in place of the key's last part. The state is sent under the key `state`, or in parts, `{key:
    how many values}`, the task under `prompt`, or not at all if that is empty. `api_key` is a file.
    An answer that takes longer than `timeout_s`, over all reconnections, fails the request. At its
    start the policy waits for the server up to `wait_s`.
    """

    address: Annotated[str, Meta(pattern=r"^wss?://\S+\Z", description="ws://host:port")]
    api_key: str | None = None
    timeout_s: Annotated[float, Meta(gt=0, le=3600)] = 2.0
    wait_s: Annotated[float, Meta(gt=0, le=1e6)] = 240.0
    mapping: str | None = None
    state_names: tuple[str, ...] | None = None
    action_names: tuple[str, ...] | None = None
    chunk_size: int | None = None
    fps: float | None = None
    control_mode: Literal["position", "velocity"] | None = None
    cameras: dict[str, Size] | None = None
    names: dict[str, str] = {}
    state: str | dict[str, int] | None = None
    prompt: str | None = None
    model: str = "openpi"
    revision: str = "1"


def options_of(given: Mapping[str, Any]) -> ServerOptions:
    """The options, validated. Raises PolicyError."""
    try:
        return msgspec.convert(dict(given), ServerOptions)
    except msgspec.ValidationError as error:
        known = ", ".join(ServerOptions.__struct_fields__)
        raise PolicyError(f"options: {error}; policy openpi takes {known}") from error


def robot_of(options: ServerOptions) -> tuple[PolicySpec, RobotKeys]:
    """The contract that the options mean, and the keys of an observation. Raises PolicyError."""
    base = _base(options)
    state_names = options.state_names or base.state_names
    robot = msgspec.structs.replace(
        base,
        cameras={_name(options, base, key): key for key in _cameras(options, base)},
        slots={},
        state=_state(options, base, state_names),
        action_names=options.action_names or base.action_names,
        prompt=base.prompt if options.prompt is None else options.prompt,
        control_mode=options.control_mode or base.control_mode,
        fps=options.fps or base.fps,
    )
    assert options.chunk_size is not None, "its absence is an error before"
    try:
        cameras = tuple(
            CameraFeature(_name(options, base, key), width=size[0], height=size[1])
            for key, size in _cameras(options, base).items()
        )
        spec = robot.spec(options.model, options.chunk_size, options.revision, cameras=cameras)
    except (TypeError, ValueError) as error:
        raise PolicyError(f"options: {error}") from error
    return spec, robot


def _base(options: ServerOptions) -> RobotKeys:
    """The embodiment's keys; without one, those that openpi's own clients have usually."""
    needed = ["chunk_size"]
    if options.mapping is None:
        needed = ["state_names", "action_names", "chunk_size", "fps"]
    if missing := [name for name in needed if getattr(options, name) is None]:
        raise PolicyError(
            f"options: {', '.join(missing)}: missing, and no such server says it"
            + ("" if options.mapping else "; or name its robot by `mapping`, e.g. droid")
        )
    if options.mapping is None:
        return RobotKeys(
            name="openpi",
            cameras={},
            state={"observation/state": ()},
            action_names=options.action_names or (),
            fps=options.fps or 0.0,
        )
    try:
        return embodiment_of(options.mapping).keys
    except PolicyError as error:
        raise PolicyError(f"options: mapping: {error}") from error


def _cameras(options: ServerOptions, base: RobotKeys) -> dict[str, Size]:
    if options.cameras is not None:
        return options.cameras
    return {base.cameras[camera]: base.camera_size for camera in base.used_cameras}


def _name(options: ServerOptions, base: RobotKeys, key: str) -> str:
    own = {path: camera for camera, path in base.cameras.items()}
    return options.names.get(key) or own.get(key) or key.rpartition("/")[2]


def _state(
    options: ServerOptions, base: RobotKeys, names: Sequence[str]
) -> dict[str, tuple[str, ...]]:
    """The names under each key of the state."""
    if isinstance(options.state, str):
        parts = {options.state: len(names)}
    elif options.state is not None:
        parts = options.state
    elif len(base.state) == 1:
        parts = dict.fromkeys(base.state, len(names))
    else:
        parts = {key: len(each) for key, each in base.state.items()}
    if sum(parts.values()) != len(names) or min(parts.values(), default=0) < 0:
        raise PolicyError(f"options: state: {parts}, expected {len(names)} values in all")
    left = iter(names)
    return {key: tuple(next(left) for _ in range(size)) for key, size in parts.items()}
