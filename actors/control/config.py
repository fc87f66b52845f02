"""The settings of a control actor's boot: frozen, complete, checked before a robot is enabled.

Light on purpose: the supervisor imports this to derive and check it, and a control process imports
nothing heavier.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

from ... import arguments
from ...errors import Fault
from ...robot.base import ControlMode
from ..runtime.device_configs import AtStop, SpecConfig
from .rtc_settings import RtcSettings

MergeMode = Literal["replace", "append", "blend"]
Trim = Literal["consumed", "time"]
Fallback = Literal["hold", "repeat_last", "zero"]
Bound = Annotated[
    float | Literal["none"] | None,
    msgspec.Meta(description="seconds, or none to wait without an end"),
]
"""Two spellings of none: YAML's own is null, and people write none."""


class PlanSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How chunks become the plan.

    `replace` continues the motion under way where the policy takes a prefix (RTC), and is the best
    of what there is where it does not; `append` plays what is left first; `blend` averages where
    both plan the same tick, with `blend_weight` on the newer chunk: it makes actions that no policy
    predicted, and is off unless asked for. `trim` says which of a late chunk's first actions are
    dropped: as many as were played since its observation (`consumed`), or as many ticks as passed
    (`time`: velocity control, moving scenes). A robot that stands begins with an action near where
    it is, whatever time passed. `latency_quantile` of the latest request latencies is
    the delay that a request announces to the policy; 1.0 is their maximum. `rtc` says how a chunk
    continues the plan, with `replace` and a policy that can.

    Raises TypeError for a value of another type. What is out of range is refused where it is used.

    >>> PlanSettings(merge="append").trim
    'consumed'
    """

    merge: MergeMode = "replace"
    trim: Trim = "consumed"
    blend_weight: float = 0.5
    buffer_time_s: float = 0.5
    latency_quantile: float = 0.95
    rtc: RtcSettings = RtcSettings()

    def __post_init__(self) -> None:
        arguments.fields(self)


class SafetySettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The bounds of the fail-safe.

    `liveness_s` is the silence of the network actor after which the server counts as lost,
    `open_timeout_s` how long one handshake may take. `fallback` is the command when the plan is
    dry. A chunk that was asked for before the plan ran dry is dropped if it comes more than
    `resume_within_s` after that, and as much later than others: the motion that it continues has
    ended, and another chunk is asked for at once. A state that stands still for
    `driver_lost_after_s` (and three ticks) means that the robot's driver is gone: nothing is
    commanded until it moves on, and the plan is void. From a
    state older than `max_state_age_s` no chunk is asked for. A call of the driver that takes longer
    than `io_timeout_s` (`connect`: `connect_timeout_s`) is ended with the driver's process, which
    is started again. `at_stop` is how the driver leaves the robot when it is stopped. With
    `max_offline_s` none the robot waits without an end.

    Raises TypeError for a value of another type. What is out of range is refused where it is used.

    >>> SafetySettings(max_offline_s="none").max_offline_ns is None
    True
    """

    max_action_age_s: float = 3.0
    degraded_after_s: float = 1.0
    request_timeout_s: float = 5.0
    max_offline_s: Bound = 60.0
    resume_within_s: float = 0.5
    driver_lost_after_s: float = 0.3
    max_state_age_s: float = 0.5
    io_timeout_s: float = 2.0
    connect_timeout_s: float = 15.0
    at_stop: AtStop = "hold"
    liveness_s: float = 1.5
    open_timeout_s: float = 2.0
    backoff_s: float = 0.5
    max_backoff_s: float = 10.0
    fallback: Fallback = "hold"
    safe_stop_timeout_s: float = 5.0

    def __post_init__(self) -> None:
        arguments.fields(self)

    @property
    def max_offline_ns(self) -> int | None:
        """None: without a bound."""
        return None if isinstance(self.max_offline_s, str | None) else _ns(self.max_offline_s)


class TimingSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Opt-in privileges of the loop; the status shows which of them took effect. `affinity` are
    cores, `fifo_priority` is that of SCHED_FIFO, `mlock` locks the process's memory.

    >>> TimingSettings(affinity=(2, 3)).mlock
    False
    """

    affinity: tuple[int, ...] | None = None
    fifo_priority: int | None = None
    mlock: bool = False


class ControlConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One robot's control loop.

    `endpoint` is the network actor's ROUTER; `plan`, `state`, `command` and `witness` name segments
    of the boot, `wake` the socket of the driver, which wakes it; `spec` is what the driver says
    about the robot, with the limits of the fleet file. `in_process`: there is no driver actor, and
    this loop makes the driver that `driver`, `options` and `import_path` say; `state_dir` is where
    it finds the emergency stop, `keyring` the directory of public keys, with one of which it is
    lifted, and `wake` its own socket.
    """

    robot: str
    service: str
    endpoint: str
    plan: str
    spec: SpecConfig | None = None
    state: str | None = None
    command: str | None = None
    teleop: str | None = None
    """The register of its teleoperator."""
    driver_board: str | None = None
    """The board of its driver, which says which of its calls runs."""
    wake: str | None = None
    in_process: bool = False
    driver: str = ""
    options: dict[str, Any] = {}
    import_path: str | None = None
    state_dir: str | None = None
    keyring: str | None = None
    fps: float = 30.0
    interpolate: int = 1
    task: str = ""
    witness: str | None = None
    plan_settings: PlanSettings = PlanSettings()
    safety: SafetySettings = SafetySettings()
    timing: TimingSettings = TimingSettings()
    tags: dict[str, str] = {}

    @property
    def dt_ns(self) -> int:
        """Nanoseconds between two policy actions."""
        return self.tick_ns * self.interpolate

    @property
    def driver_lost_after_ns(self) -> int:
        """How long the driver's state may stand still: a slow loop needs three ticks to tell."""
        return max(_ns(self.safety.driver_lost_after_s), 3 * self.tick_ns)

    @property
    def tick_ns(self) -> int:
        """Nanoseconds between two commands to the robot."""
        return round(1e9 / (self.fps * self.interpolate))


def _ns(seconds: float) -> int:
    return round(seconds * 1e9)


def faults(config: ControlConfig, mode: ControlMode) -> list[Fault]:
    """Everything that forbids this loop to drive a robot of control `mode`; empty if nothing does.
    The paths are those below the robot's entry in fleet.yaml, such as `plan.merge`."""
    found: list[Fault] = []
    plan, safety = config.plan_settings, config.safety
    if not 0 < config.fps <= 1000:
        found.append(
            Fault(
                "fps",
                f"{config.fps} is not between 0 and 1000",
                remedy="use the policy's rate, e.g. 30",
            )
        )
    if config.interpolate < 1:
        found.append(
            Fault(
                "interpolate", f"{config.interpolate} commands per action", remedy="use 1 or more"
            )
        )
    elif config.fps * config.interpolate > 2000:
        found.append(
            Fault(
                "interpolate",
                f"{config.interpolate} at fps {config.fps} is more than 2000 commands a second",
                remedy="lower one of them",
            )
        )
    if plan.merge != "replace":
        found += [
            Fault(
                f"plan.rtc.{name}",
                f"{getattr(plan.rtc, name)!r} has no effect with merge: {plan.merge}",
                remedy="write `merge: replace`, or remove this",
            )
            for name in plan.rtc.given
        ]
    if not 0 < plan.blend_weight <= 1:
        found.append(Fault("plan.blend_weight", f"{plan.blend_weight} is not in (0, 1]"))
    for name in (
        "max_action_age_s",
        "degraded_after_s",
        "request_timeout_s",
        "max_offline_s",
        "resume_within_s",
        "driver_lost_after_s",
        "max_state_age_s",
        "io_timeout_s",
        "connect_timeout_s",
        "liveness_s",
        "open_timeout_s",
        "backoff_s",
    ):
        value = getattr(safety, name)
        if not isinstance(value, str | None) and not 0 < value < 1e9:
            expected = "more than 0 seconds, and less than 1e9"
            found.append(Fault(f"safety.{name}", f"found {value}", expected))
    if not 0 < plan.latency_quantile <= 1:
        found.append(
            Fault(
                "plan.latency_quantile",
                f"{plan.latency_quantile} is not in (0, 1]",
                remedy="use 0.95, or 1.0 for the maximum",
            )
        )
    if not 0 < plan.buffer_time_s < 1e9:
        expected = "more than 0 seconds, and less than 1e9"
        found.append(Fault("plan.buffer_time_s", f"found {plan.buffer_time_s}", expected))
    if mode is ControlMode.VELOCITY and safety.fallback != "zero":
        found.append(
            Fault(
                "safety.fallback",
                f"{safety.fallback!r} would keep a velocity-controlled robot moving when its plan "
                "is dry",
                remedy="use 'zero'",
            )
        )
    if mode is ControlMode.POSITION and safety.fallback == "zero":
        found.append(
            Fault(
                "safety.fallback",
                "'zero' would send a position-controlled arm to its origin when its plan is dry",
                remedy="use 'hold'",
            )
        )
    return found
