"""`strategy:` of a robot in fleet.yaml: when episodes begin and end, and which are kept."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

Episodes = Annotated[int, Meta(ge=1, le=100_000, description="a whole number, 1 or more")]
Span = Annotated[float, Meta(gt=0, le=86_400, description="seconds, more than 0")]


class BaseSettings(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="base"
):
    """Run. With `record`, an episode is recorded from each reset to the next, or to a stop."""


class EpisodicSettings(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    tag_field="type",
    tag="episodic",
):
    """`episodes` under the policy, one after the other, each for at most `episode_time_s`. Between
    two the robot is paused, or returns to the pose that it began in (`home`), for `reset_time_s`:
    None waits for a person's start."""

    episodes: Episodes
    episode_time_s: Span | None = None
    reset_time_s: Span | None = None
    home: bool = True


class TeleopSettings(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    tag_field="type",
    tag="teleop",
):
    """The same by a person's hands: demonstrations. During the resets the person goes on commanding
    the robot, to put the scene in order."""

    episodes: Episodes
    episode_time_s: Span | None = None
    reset_time_s: Span | None = None


class DaggerSettings(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    tag_field="type",
    tag="dagger",
):
    """The policy runs, and a person takes over to correct it. Each correction is an episode, until
    there are `episodes`; with `record_autonomous` whole attempts are, whose column `intervention`
    says which rows are the person's."""

    episodes: Episodes
    record_autonomous: bool = False
    episode_time_s: Span | None = None
    reset_time_s: Span | None = None
    home: bool = True


class SentrySettings(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    tag_field="type",
    tag="sentry",
):
    """Everything is recorded; an episode ends at a reset, after `rotate_s`, or when its files have
    `rotate_mb`."""

    rotate_s: Span = 600.0
    rotate_mb: Annotated[float, Meta(gt=0, le=100_000, description="megabytes, more than 0")] = 500


class HighlightSettings(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    tag_field="type",
    tag="highlight",
):
    """What a person marks (`actorctl episode save`, or the success button) is kept: the `before_s`
    before it and the `after_s` after it. What waits for that is at most `memory_mb`."""

    before_s: Annotated[float, Meta(gt=0, le=600, description="seconds, more than 0")] = 10.0
    after_s: Annotated[float, Meta(ge=0, le=600, description="seconds, 0 or more")] = 5.0
    memory_mb: Annotated[float, Meta(gt=0, le=10_000, description="megabytes, more than 0")] = 256

    @property
    def before_ns(self) -> int:
        return round(self.before_s * 1e9)

    @property
    def memory_bytes(self) -> int:
        return round(self.memory_mb * 1e6)


StrategySettings = (
    BaseSettings
    | EpisodicSettings
    | TeleopSettings
    | DaggerSettings
    | SentrySettings
    | HighlightSettings
)
