"""`PiOptions`: what a checkpoint does not say. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from ...errors import PolicyError
from ..base import Horizon, PolicySpec
from ..policy_options import GUIDANCE, FlowOptions
from .architecture import Family

Side = Annotated[int, Meta(ge=16, le=4096, description="pixels, 16 to 4096")]


class PiOptions(FlowOptions, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The options of policies pi0, pi05 and pi0_fast.

    Attributes:
        tokenizer: PaliGemma's `tokenizer.model` or `tokenizer.json`, or the directory of one.
        prompt: the instruction of observations that have none.
        chunk_size: the steps of a chunk, openpi's `action_horizon`, where config.json lacks it.
        discrete_state_input: whether π0.5 reads the state in its text, as openpi calls it (it does
            unless this says no).
        prefix: how a chunk continues the plan; where it is not said as the training was, `guided`
            for one without prefixes.
        mapping: for openpi's files, the robot: an embodiment of `policy.steps`, or module:name.
        asset: for openpi's files, the directory below assets/ where there are several.
        camera_size: for openpi's files, width and height of the images that robots send, where they
            are not those of the embodiment.
        action_names: for LeRobot's files, the columns of a chunk.
        state_names: for LeRobot's files, the values of the state.
        dataset: for LeRobot's files, the dataset that has these names and the fps.
        fps: for LeRobot's files, the steps per second.
        perceptrons: `float8` multiplies those of the language model and of the expert in 8 bits
            (cards of compute capability 8.9 and later).
        action_tokenizer: for π0-FAST, the directory with the tokenizer.json and the
            processor_config.json of its actions.
        decoding_steps: for π0-FAST, the most action tokens of a chunk.
        trained_steps: with `prefix: trained`, how many steps the training gave at most.
        compile: for π0 and π0.5 on a CPU, whether the network is compiled by torch.compile at the
            start, which takes minutes: `on`, or `auto` for the batches that it makes faster.
    """

    tokenizer: str | None = None
    prompt: str | None = None
    chunk_size: Horizon | None = None
    discrete_state_input: bool | None = None
    mapping: str | None = None
    asset: str | None = None
    camera_size: tuple[Side, Side] | None = None
    action_names: tuple[str, ...] | None = None
    state_names: tuple[str, ...] | None = None
    dataset: str | None = None
    fps: float | None = None
    action_tokenizer: str | None = None
    decoding_steps: Horizon | None = None
    perceptrons: Literal["float8"] | None = None
    trained_steps: Horizon | None = None
    # YAML reads a bare on and off as true and false.
    compile: Literal["auto", "on", "off"] | bool | None = None

    def continuing(self, spec: PolicySpec, family: Family = "pi0") -> PolicySpec:
        """`spec` with the way to continue a plan; π0-FAST has none. Raises PolicyError for options
        that exclude each other."""
        own = spec.prefix == "trained"
        usual: Literal["trained", "guided"] = "trained" if own else "guided"
        chosen = msgspec.structs.replace(self, prefix=self.prefix or usual)
        if not own and (chosen.prefix == "trained") != (self.trained_steps is not None):
            raise PolicyError(
                f"options: prefix is {chosen.prefix!r} and trained_steps {self.trained_steps}: "
                "give both for a checkpoint that was trained with given prefixes, and neither for "
                "others"
            )
        if self.trained_steps is not None:
            spec = msgspec.structs.replace(
                spec, prefix="trained", max_prefix_steps=min(self.trained_steps, spec.chunk_size)
            )
        for fault in chosen.conflicts(spec):
            raise PolicyError(f"options: {fault}")
        return spec if family == "pi0_fast" else chosen.applied(spec)


_ONLY: dict[str, tuple[Family, ...]] = {
    **dict.fromkeys(("action_tokenizer", "decoding_steps"), ("pi0_fast",)),
    **dict.fromkeys(
        ("euler_steps", "prefix", *GUIDANCE, "trained_steps", "perceptrons", "compile"),
        ("pi0", "pi05"),
    ),
    "discrete_state_input": ("pi05",),
}
"""The families of the options that not every one has."""

ONLY_OPENPI = ("mapping", "asset", "camera_size")
ONLY_LEROBOT = ("action_names", "state_names", "dataset", "fps")
NOT_HOLDFAST = (
    *(*ONLY_OPENPI, *ONLY_LEROBOT),
    *("chunk_size", "discrete_state_input", "trained_steps"),
)
"""What checkpoints of `holdfast-train` say themselves."""


def pi_options_of(given: Mapping[str, Any], family: Family) -> PiOptions:
    """The options given for a policy of the `family`, validated. Raises PolicyError, also for one
    that another family has, whatever its value."""
    for name in given:
        if given[name] is not None and family not in _ONLY.get(name, (family,)):
            raise PolicyError(f"options: {name}: policy {family} has none: remove it")
    try:
        return msgspec.convert(dict(given), PiOptions)
    except msgspec.ValidationError as error:
        known = ", ".join(PiOptions.__struct_fields__)
        raise PolicyError(
            f"options: {error}; policies pi0, pi05 and pi0_fast take {known}"
        ) from error
