"""`GrootOptions`: what a fleet file says of a server of GR00T. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from ... import arguments
from ...errors import PolicyError, WireError
from ...policy.base import CameraFeature, PolicySpec
from .groot_contract import ServerModalities

_LOCAL = ("timeout_s", "wait_s", "api_token")
"""What is not part of the policy's identity."""


class GrootOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Attributes:
    state: by key of the server (`left_arm`) the names of its values in order, or how many they
        are: then robots' names are taken in order, by their count.
    action: the same of its actions.
    state_names, action_names: all these names in the order of the robots; without, the order of the
        keys.
    fps: the rate of the actions, and of the steps between observations.
    cameras: the size of each of its videos, `{key: [width, height]}`.
    names: what robots call a camera, by key; the key itself without.
    chunk_size: the steps of a chunk; None: as the server says.
    observation_steps, observation_stride_steps: as in `PolicySpec`, where `chunk_size` is given.
    flat: whether the server runs with `--use-sim-policy-wrapper`.
    serving_mode: `exclusive` for a server that remembers between calls: it is reset where an
        episode begins, and serves one robot.
    api_token: a file with the token that the server wants.
    timeout_s: an answer that takes longer, over all reconnections, fails the request.
    wait_s: how long the replica waits for the server at its start, while robots find none.
    """

    state: dict[str, list[str] | int]
    action: dict[str, list[str] | int]
    fps: float
    state_names: list[str] | None = None
    action_names: list[str] | None = None
    cameras: dict[str, tuple[int, int]] = {}
    names: dict[str, str] = {}
    chunk_size: int | None = None
    observation_steps: int = 1
    observation_stride_steps: int = 1
    control_mode: Literal["position", "velocity"] = "position"
    flat: bool = False
    serving_mode: Literal["shared", "exclusive"] = "shared"
    model: str = "groot"
    revision: str = "1"
    api_token: str | None = None
    timeout_s: float = 2.0
    wait_s: float = 240.0

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> GrootOptions:
        """Raises ValueError that begins with the option."""
        if missing := [name for name in ("state", "action", "fps") if name not in options]:
            raise ValueError(f"{', '.join(missing)}: missing, and no such server says it")
        try:
            found = msgspec.convert(_without_prefixes(options), cls)
        except msgspec.ValidationError as error:
            raise ValueError(f"{error}") from error
        arguments.number("timeout_s", found.timeout_s, most=3600)
        arguments.number("wait_s", found.wait_s, most=1e6)
        for key in found.names:
            if key not in found.cameras:
                known = ", ".join(found.cameras) or "none"
                raise ValueError(f"names: {key!r} is no key of `cameras` ({known})")
        return found

    def identity(self) -> dict[str, Any]:
        """What of them makes it another policy."""
        plain: dict[str, Any] = msgspec.to_builtins(self)
        return {name: value for name, value in plain.items() if name not in _LOCAL}

    def camera(self, key: str) -> str:
        """What robots call the camera of a video's key."""
        return self.names.get(key, key)

    def columns(self, modality: Literal["state", "action"]) -> dict[str, list[int]]:
        """The entries of the state, or columns of a chunk, of each key."""
        names = self._names(modality)
        columns, first = {}, 0
        for key, part in self._parts(modality).items():
            count = part if isinstance(part, int) else len(part)
            numbered = range(first, first + count)
            columns[key] = [*numbered] if isinstance(part, int) else [names.index(n) for n in part]
            first += count
        return columns

    def spec(self, told: ServerModalities | None) -> PolicySpec:
        """The spec, as the server and these options say. Raises ValueError that begins with the
        option that the server contradicts, PolicyError for a server that no robot can use."""
        chunk_size = self.chunk_size
        steps, stride = self.observation_steps, self.observation_stride_steps
        if told is not None:
            self._check(told)
            horizon = len(told.steps["action"])
            try:
                window = told.window()
            except WireError as error:
                raise PolicyError(str(error)) from error
            if chunk_size not in (None, horizon):
                raise ValueError(f"chunk_size: {chunk_size}, the server's chunks have {horizon}")
            given = (steps, stride if steps > 1 else window[1])
            if chunk_size is not None and window != given:
                raise ValueError(
                    f"observation_steps: {steps} with a stride of {stride}, the server sees "
                    f"{window[0]} with a stride of {window[1]}"
                )
            chunk_size, (steps, stride) = horizon, window
        assert chunk_size is not None, "the server is asked where it is not given"
        names = {each: self._names(each) for each in ("state", "action")}
        counted = [isinstance(p, int) for p in (*self.state.values(), *self.action.values())]
        if any(counted) and not all(counted):
            raise ValueError("state, action: names for some keys and counts for others: name all")
        return PolicySpec(
            model=self.model,
            revision=self.revision,
            cameras=tuple(
                CameraFeature(self.camera(key), width=size[0], height=size[1])
                for key, size in self.cameras.items()
            ),
            state_names=names["state"],
            action_names=names["action"],
            chunk_size=chunk_size,
            fps=self.fps,
            control_mode=self.control_mode,
            stateful=self.serving_mode == "exclusive",
            by_count=any(counted),
            observation_steps=steps,
            observation_stride_steps=stride,
        )

    def _parts(self, modality: str) -> dict[str, list[str] | int]:
        return self.state if modality == "state" else self.action

    def _names(self, modality: str) -> tuple[str, ...]:
        """All names in order; those of values that are only counted are placeholders."""
        found: list[str] = []
        for part in self._parts(modality).values():
            if isinstance(part, int):
                part = [f"{modality}_{len(found) + k}" for k in range(part)]
            found += part
        ordered = self.state_names if modality == "state" else self.action_names
        if ordered is None:
            return tuple(found)
        if sorted(ordered) != sorted(found):
            raise ValueError(
                f"{modality}_names: {', '.join(ordered)}, expected those of `{modality}` in an "
                f"order of your own: {', '.join(found)}"
            )
        return tuple(ordered)

    def _check(self, told: ServerModalities) -> None:
        """Whether the server has the keys that the options name, and needs no others."""
        for option, modality, given in (
            ("cameras", "video", self.cameras),
            ("state", "state", self.state),
            ("action", "action", self.action),
        ):
            keys = told.keys[modality]
            needed = () if modality == "action" else keys
            if unknown := [key for key in given if key not in keys]:
                raise ValueError(
                    f"{option}: the server has no {', '.join(unknown)}, but {', '.join(keys)}"
                )
            if absent := [key for key in needed if key not in given]:
                raise ValueError(f"{option}: the server needs {', '.join(absent)} too")


def _without_prefixes(options: Mapping[str, Any]) -> dict[str, Any]:
    plain = dict(options)
    for option, prefix in (
        ("cameras", "video."),
        ("names", "video."),
        ("state", "state."),
        ("action", "action."),
    ):
        if isinstance(value := plain.get(option), Mapping):
            plain[option] = {str(key).removeprefix(prefix): each for key, each in value.items()}
    return plain
