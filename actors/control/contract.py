"""What a robot was accepted under, and what of it the next incarnation of its loop must know."""

from __future__ import annotations

import msgspec

from ...transport.bodies import Accept
from .policy_task import Task


class Contract(msgspec.Struct, frozen=True):
    """The model that a robot was accepted under. It may not change while the robot is in use."""

    model: str
    revision: str
    checkpoint: str
    action_names: tuple[str, ...]
    continues_a_plan: bool
    """Whether its chunks continue the plan under way (real-time chunking)."""
    observation_steps: int = 1
    observation_stride_steps: int = 1

    @classmethod
    def of(cls, terms: Accept) -> Contract:
        """The part of a handshake's `terms` that binds."""
        return cls(
            terms.model,
            terms.revision,
            terms.checkpoint,
            terms.action_names,
            terms.prefix != "none",
            terms.observation_steps,
            terms.observation_stride_steps,
        )

    def changes(self, after: Contract) -> str:
        """How `after` differs, as a sentence for a person."""
        changed = [
            f"{name} {getattr(self, name)!r} became {getattr(after, name)!r}"
            for name in self.__struct_fields__
            if getattr(self, name) != getattr(after, name) and name != "continues_a_plan"
        ]
        if self.continues_a_plan != after.continues_a_plan:
            how = "now continues" if after.continues_a_plan else "no longer continues"
            changed.append(f"it {how} the plan under way (real-time chunking)")
        return f"the service changed: {'; '.join(changed)}; start the robot again to accept it"


class Kept(msgspec.Struct, frozen=True):
    """What the segment keeps for the next incarnation. The contract is `service`'s, which a person
    may have chosen in place of the `configured` one."""

    contract: Contract | None = None
    task: Task | None = None
    service: str = ""
    configured: str = ""

    def under(self, configured: str) -> Kept:
        """What of it holds where the fleet file names the service `configured`: if that is another
        than it was, the robot uses it, and is bound by no contract of the one before."""
        if self.configured == configured:
            return self
        contract = self.contract if self.service == configured else None
        return Kept(contract, self.task, configured, configured)

    def pack(self) -> bytes:
        return msgspec.msgpack.encode(self)

    @classmethod
    def unpack(cls, packed: bytes) -> Kept:
        """What was packed; nothing, if it is empty or of another version."""
        try:
            return msgspec.msgpack.decode(packed, type=cls)
        except msgspec.DecodeError:
            return cls()


def misfit(terms: Accept, actions: tuple[str, ...], capacity: int) -> str:
    """Why a robot of these actions, whose plan holds `capacity` steps, cannot play what the service
    would send; empty if it can."""
    if terms.action_names != actions:
        return (
            f"the service's actions are {', '.join(terms.action_names)}; this robot's are "
            f"{', '.join(actions)}: use a service that was trained for it"
        )
    if not 0 < terms.chunk_size <= capacity:
        return (
            f"the service's chunks have {terms.chunk_size} steps; this robot's plan holds 1 to "
            f"{capacity}: use a policy of shorter chunks"
        )
    return ""
