"""Every error that Holdfast defines and that a caller may meet, in one tree.

HoldfastError
├── FleetError (ValueError)                fleet.yaml
├── RefusedError, DeadError                how an actor ends
├── The embedding API
│   ├── FleetFailedError
│   ├── FleetNotFoundError (LookupError)
│   ├── NotReadyError (TimeoutError)
│   ├── PolicyLostError
│   └── ServingFailedError
├── A running fleet
│   ├── BrokerUnreachableError (ConnectionError)
│   ├── ControlSocketError
│   ├── SupervisorUnreachableError (ConnectionError)
│   ├── RequestDeclinedError
│   ├── HeadroomError
│   ├── UnsatisfiableError (ValueError)
│   ├── EvaluationError
│   │   └── EvaluationStoppedError
│   └── RuntimeDirError
├── Policies
│   ├── PolicyError
│   ├── UnfitPolicyError
│   ├── WrongOutputError (ValueError)
│   ├── PolicyBrokenError
│   │   └── DeviceLostError
│   ├── StepError (ValueError)
│   └── CaptureError (ValueError)
├── Robots
│   ├── RobotError
│   │   └── RecordingEndedError
│   ├── PlanError
│   ├── StaleFrameError
│   ├── DatasetError
│   └── HubUnreachableError (ConnectionError)
└── Messages and memory
    ├── WireError
    ├── KeyFileError
    ├── SegmentError
    └── LayoutError
        ├── FrameError
        ├── OutboxError
        └── SeqlockError

The headings group and are no classes. An error with a builtin type in parentheses derives from that
type too, so that code which handles the builtin handles it. Arguments of a wrong type or value
raise TypeError and ValueError, a call on a closed object RuntimeError.

Imports no part of Holdfast: every part may use it.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
from msgspec.structs import replace


class HoldfastError(Exception):
    """Base of all errors that Holdfast defines. The message says what was found, what was expected
    and what to do."""


# fleet.yaml


class Fault(msgspec.Struct, frozen=True, order=True):
    """One thing wrong with a fleet file or a configuration, as values that make its sentence.

    `path`: where, from the file's root `$` or from what was checked. `found`: what is there, and
    why it is wrong. `expected`: what would be right. `remedy`: what to do. `line`: in the file,
    from 1; 0 if it is not known.

    >>> print(Fault("$.robots[0].fps", "found 0", expected="more than 0", line=7))
    line 7: $.robots[0].fps: found 0; expected more than 0
    """

    path: str
    found: str
    expected: str = ""
    remedy: str = ""
    line: int = 0

    @property
    def message(self) -> str:
        """The sentence without the place."""
        expected = self.expected and f"expected {self.expected}"
        return "; ".join(part for part in (self.found, expected, self.remedy) if part)

    def within(self, place: str) -> Fault:
        """This fault of what stands at `place` of a whole."""
        return replace(self, path=f"{place}.{self.path}")

    def __str__(self) -> str:
        where = f"line {self.line}: " if self.line else ""
        return f"{where}{self.path}: {self.message}"


class FleetError(HoldfastError, ValueError):
    """fleet.yaml cannot be used. `faults`: all that is wrong with it, in the order of the lines.

    >>> print(FleetError("cell.yaml", [Fault("$.name", "found 3", expected="text", line=1)]))
    cell.yaml: one thing is wrong
      line 1: $.name: found 3; expected text
    """

    def __init__(self, source: str, faults: Iterable[Fault]) -> None:
        self.source = source
        self.faults = sorted(set(faults), key=lambda fault: (fault.line, fault.path))
        count = len(self.faults)
        many = f"{count} things are wrong" if count > 1 else "one thing is wrong"
        lines = "\n".join(f"  {fault}" for fault in self.faults)
        super().__init__(f"{source}: {many}\n{lines}")


# How an actor ends


class RefusedError(HoldfastError):
    """The configuration or the surroundings cannot work, and a restart would not help. The actor
    ends with EXIT_REFUSED."""


class DeadError(HoldfastError):
    """The actor must not act again until a person allows it (a robot's DEAD). It ends with
    EXIT_DEAD."""


# The embedding API


class FleetFailedError(HoldfastError):
    """The fleet did not start, or ended by itself: the message has its last output."""


class FleetNotFoundError(HoldfastError, LookupError):
    """No running fleet on this machine, none of the given name, or several to choose from."""


class NotReadyError(HoldfastError, TimeoutError):
    """The fleet or the policy was not ready within the given time: the message names what was
    awaited."""


class PolicyLostError(HoldfastError):
    """The policy may not be used any more: the message has the reason. Bring the robot to rest."""


class ServingFailedError(HoldfastError):
    """The replica ended without being asked to: the message has the reason."""


# A running fleet


class BrokerUnreachableError(HoldfastError, ConnectionError):
    """No broker answers at the address: the message names it."""


class ControlSocketError(HoldfastError):
    """The fleet cannot be reached over its control socket, or refused the command."""


class SupervisorUnreachableError(HoldfastError, ConnectionError):
    """The supervisor did not answer the gateway: the message has how it failed."""


class RequestDeclinedError(HoldfastError):
    """The supervisor, or a port that an emergency stop holds, refused a request: the message is its
    answer."""


class HeadroomError(HoldfastError):
    """The limits of this machine are too small for the fleet: the message has each limit, what is
    available and what is needed."""


class UnsatisfiableError(HoldfastError, ValueError):
    """No byte of a file is within the range that was asked for: HTTP's status 416."""


class EvaluationError(HoldfastError):
    """Services cannot be evaluated on these robots, or the evaluation cannot be kept or read."""


class EvaluationStoppedError(EvaluationError):
    """An evaluation ends before its time: Ctrl-C, or a fault of another robot's."""


class RuntimeDirError(HoldfastError):
    """A directory for runtime files or state cannot be used."""


# Policies


class PolicyError(HoldfastError):
    """A policy cannot be loaded, or cannot be used with the given spec or options."""


class UnfitPolicyError(HoldfastError):
    """The policy failed its warm-up, and would fail it again."""


class WrongOutputError(HoldfastError, ValueError):
    """A policy returned a value that cannot be sent to a robot."""


class PolicyBrokenError(HoldfastError):
    """The policy fails at every request, and at the example that worked at its warm-up: it gets a
    new process. The message has the policy's exception."""


class DeviceLostError(PolicyBrokenError):
    """The device does not work any more (a GPU that does not respond, exhausted memory): only a
    new process may help."""


class StepError(HoldfastError, ValueError):
    """Data do not fit a step of `policy/steps/`: the message names the step, the key, and what was
    there."""


class CaptureError(HoldfastError, ValueError):
    """A file is not a capture, or was captured from another policy."""


# Robots


class RobotError(HoldfastError):
    """The hardware, or its simulation, failed."""


class RecordingEndedError(RobotError):
    """A recording that stands in for a camera has been shown to its end."""


class PlanError(HoldfastError):
    """The plan's memory cannot hold a plan for this robot."""


class StaleFrameError(HoldfastError):
    """A camera has no frame, or none that is recent enough."""


class DatasetError(HoldfastError):
    """A dataset is missing, damaged, of another format or not the one that was asked for."""


class HubUnreachableError(HoldfastError, ConnectionError):
    """The Hugging Face hub does not answer, or is overloaded: the same call may succeed later."""


# Messages and memory


class WireError(HoldfastError):
    """A peer sent what the protocol forbids. `reason` is a short slug, to count by."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class KeyFileError(HoldfastError):
    """A key is missing, malformed or not allowed."""


class SegmentError(HoldfastError):
    """Shared memory could not be created or mapped."""


class LayoutError(HoldfastError):
    """Memory is not laid out as its user expects."""


class FrameError(LayoutError):
    """Memory holds no frame ring of this layout and shape."""


class OutboxError(LayoutError):
    """Memory holds no outbox of this layout, or the images do not fit."""


class SeqlockError(LayoutError):
    """Memory holds no seqlock of this layout, is damaged, or the value does not fit."""
