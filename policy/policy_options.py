"""The options of each kind of policy. No torch: fleet.yaml is checked against them on hosts that
may be unable to run the policy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from ..errors import Fault, PolicyError
from .base import Clip, Horizon, PolicySpec, Schedule

Jacobian = Literal["gradient", "identity"]
Delay = Annotated[float, Meta(ge=0, le=3600, description="seconds, 0 to 3600")]


class PolicyOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of every kind's options. None leaves a value to the checkpoint."""

    def conflicts(self, spec: PolicySpec) -> Iterator[Fault]:
        """The faults of the options for a checkpoint of `spec`; their paths are keys."""
        return iter(())

    def applied(self, spec: PolicySpec) -> PolicySpec:
        """The spec of a policy with these options, whose checkpoint has `spec`."""
        return spec

    def given(self) -> dict[str, Any]:
        """The options that are not None, as keyword arguments of the policy."""
        return {
            name: value
            for name in self.__struct_fields__
            if (value := getattr(self, name)) is not None
        }


class ConstantOptions(PolicyOptions, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`value` is commanded where no state has the action's name; `delay_s` is the simulated
    duration of a batch."""

    value: Annotated[float, Meta(ge=-1e9, le=1e9, description="a number")] = 0.0
    delay_s: Delay = 0.0


class ShapeOnlyOptions(PolicyOptions, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`delay_s` is the simulated duration of a batch."""

    delay_s: Delay = 0.0


class LearnedOptions(PolicyOptions, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`graphs`: `auto` uses CUDA graphs where the device has them, `off` does not."""

    # YAML reads a bare off as false.
    graphs: Literal["auto", "off"] | bool = "auto"

    def conflicts(self, spec: PolicySpec) -> Iterator[Fault]:
        if self.graphs is True:
            yield Fault("graphs", "found true", "auto (where the device has them) or off")


class ActOptions(LearnedOptions, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The options of every trained policy."""


GUIDANCE = ("schedule", "clip", "execution_horizon", "jacobian")


class FlowOptions(LearnedOptions, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`euler_steps` and `prefix`, the way to continue a plan, replace the checkpoint's own; the
    others are the fields of `rtc.Guidance`, for `prefix: guided`."""

    euler_steps: Annotated[int, Meta(ge=1, le=1000, description="1 to 1000")] | None = None
    prefix: Literal["none", "guided", "trained"] | None = None
    schedule: Schedule | None = None
    clip: Clip | None = None
    execution_horizon: Horizon | None = None
    jacobian: Jacobian | None = None

    def applied(self, spec: PolicySpec) -> PolicySpec:
        if self.prefix is not None and self.prefix != spec.prefix:
            steps = spec.chunk_size if self.prefix == "guided" else 0
            spec = msgspec.structs.replace(spec, prefix=self.prefix, max_prefix_steps=steps)
        if self.execution_horizon is not None:
            # Steps beyond it have no weight, and are not sent.
            steps = min(spec.max_prefix_steps, self.execution_horizon)
            spec = msgspec.structs.replace(spec, max_prefix_steps=steps)
        return spec

    def conflicts(self, spec: PolicySpec) -> Iterator[Fault]:
        yield from super().conflicts(spec)
        prefix = self.prefix or spec.prefix
        if prefix == "trained" and spec.prefix != "trained":
            yield Fault(
                "prefix",
                f"{spec.model} was not trained with prefixes (its spec says '{spec.prefix}')",
                remedy="ask for prefix 'guided' or train it again",
            )
        for name in GUIDANCE:
            if prefix != "guided" and getattr(self, name) is not None:
                yield Fault(
                    name,
                    f"guidance options are for prefix 'guided', this policy's is '{prefix}'",
                    remedy="remove it, or add `prefix: guided`",
                )
        if (self.execution_horizon or 0) > spec.chunk_size:
            found = f"{self.execution_horizon} steps, but a chunk has {spec.chunk_size} only"
            yield Fault("execution_horizon", found)


OPTIONS: dict[str, type[PolicyOptions]] = {
    "flow": FlowOptions,
    "act": ActOptions,
    "constant": ConstantOptions,
    "shape-only": ShapeOnlyOptions,
}
"""The kinds of policies, and the types of their options."""


def options_of(kind: str, given: Mapping[str, Any]) -> PolicyOptions:
    """The options `given` for a policy of `kind`, validated. Raises PolicyError that names the
    option."""
    try:
        return msgspec.convert(given, OPTIONS[kind])
    except msgspec.ValidationError as error:
        known = ", ".join(OPTIONS[kind].__struct_fields__)
        raise PolicyError(f"options of policy kind '{kind}': {error}; it takes {known}") from error
