"""`Pi0Policy`, `Pi05Policy` and `Pi0FastPolicy`: a checkpoint of openpi's or LeRobot's, served
without their code.

Each sample of a batch has its own prompt, noise, prefix, delay and guidance. This module imports no
torch: a fleet is checked on machines that cannot run the model.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ...errors import PolicyError, StepError
from ..base import Chunk, Observation, PolicySpec
from ..lerobot.checkpoint_folder import hash_of
from ..processing import check_observation
from .architecture import Architecture, Family
from .checkpoint_layout import read_layout
from .pi_options import PiOptions, pi_options_of
from .pi_sample import PiSample
from .robot_data import robot_data, spec_alone
from .sampling import Sampling
from .word_pieces import read_word_pieces

if TYPE_CHECKING:
    from .fast_model import FastModel
    from .pi_model import PiModel

_OF_THE_HOST = ("tokenizer", "action_tokenizer", "dataset", "graphs", "compile")
"""Options that say where something lies, or how the network runs."""


class PiPolicy:
    """What both families have in common. Raises PolicyError for a checkpoint, device, dtype or
    option that cannot be used."""

    family: ClassVar[Family]

    def __init__(
        self,
        checkpoint: str | None = None,
        revision: str | None = None,
        device: str = "cpu",
        dtype: str = "float32",
        **options: Any,
    ) -> None:
        given = pi_options_of(options, self.family)
        self._layout = read_layout(checkpoint, self.family, given)
        try:
            data = robot_data(self._layout, revision, given)
        except StepError as error:
            raise PolicyError(f"{self._layout.folder}: {error}") from error
        self.spec = given.continuing(data.spec, self.family)
        self.steps, self._keys = data.steps, data.keys
        architecture = self._layout.architecture
        self._refuse_too_many(architecture)
        self._pieces = read_word_pieces(self._layout.folder, given.tokenizer, architecture.words)
        begin = self._pieces.begin
        again = self.family == "pi0_fast" and self._layout.origin == "lerobot"
        self._sampling = Sampling(
            architecture,
            self._layout.origin,
            self._pieces,
            self._layout.prompt_tokens,
            self._layout.reads_state,
            (begin,) if again and begin is not None else (),
        )
        self._model = self._loaded(given, device, dtype)
        self.checkpoint_hash = self._hash(given, dtype)

    @classmethod
    def describe(
        cls,
        checkpoint: str | None = None,
        revision: str | None = None,
        device: str = "cpu",  # noqa: ARG003  the spec does not depend on it
        dtype: str = "float32",  # noqa: ARG003
        **options: Any,
    ) -> PolicySpec:
        """The spec by the names and sizes in the checkpoint's files, without its weights. Raises
        PolicyError."""
        given = pi_options_of(options, cls.family)
        layout = read_layout(checkpoint, cls.family, given)
        return given.continuing(spec_alone(layout, revision, given), cls.family)

    @property
    def execution(self) -> str:
        """How the network runs, for the status."""
        return self._model.execution

    @property
    def preparation(self) -> str:
        """What the first batches do beside predicting, for the status; empty where nothing."""
        return self._model.preparation

    def _loaded(self, given: PiOptions, device: str, dtype: str) -> PiModel | FastModel:
        if self.family == "pi0_fast":
            from .fast_model import FastModel

            return FastModel.load(self._layout, self.spec, given, self._pieces, device, dtype)
        from .pi_model import PiModel

        return PiModel.load(self._layout, self.spec, given, device, dtype)

    def predict_chunk(self, batch: Sequence[Observation]) -> list[Chunk]:
        """One chunk for each observation, in order. Raises ValueError for one that does not fit the
        spec."""
        samples = [self._sample(observation) for observation in batch]
        chunks = self._model.predict(samples)
        return [self._chunk(chunk, each) for chunk, each in zip(chunks, samples, strict=True)]

    def _hash(self, given: PiOptions, dtype: str) -> str:
        """Of the bytes of all files, the tokenizer's included, and of the options that change a
        chunk: where a file lies, and how the network runs, may differ from host to host."""
        options = {k: v for k, v in given.given().items() if k not in _OF_THE_HOST}
        digest = hashlib.sha256(hash_of(self._layout.folder, dtype, self.spec, options).encode())
        for path in (
            *sorted(self._layout.folder.glob("assets/**/*.json")),
            *(self._pieces.file, *self._model.files),
        ):
            digest.update(hashlib.sha256(path.read_bytes()).digest())
        return digest.hexdigest()

    def _refuse_too_many(self, architecture: Architecture) -> None:
        for names, most in (
            (self.spec.state_names, architecture.states),
            (self.spec.action_names, architecture.actions),
        ):
            if len(names) > most:
                raise PolicyError(
                    f"{self._layout.folder}: the robot has {len(names)} values ({', '.join(names)})"
                    f", the model {most}"
                )

    def _sample(self, observation: Observation) -> PiSample:
        """The observation after the robot's steps, with its text as tokens."""
        check_observation(self.spec, observation)
        keyed = self._keys.observed(observation)
        if self.spec.prefix == "none" or observation.prefix is None or not len(observation.prefix):
            keyed.pop("actions", None)
        elif "actions" not in keyed:
            raise ValueError(
                "prefix_robot is missing: the plan is brought to the model by the steps of the "
                "robot's actions; send both"
            )
        try:
            data = self.steps.before(keyed)
        except StepError as error:
            raise ValueError(str(error)) from error
        return self._sampling.sample(data, observation)

    def _chunk(self, actions: NDArray[np.float32], sample: PiSample) -> Chunk:
        """The model's actions [H, A], and as the robot's."""
        back = self.steps.after({"state": sample.state, "actions": actions})
        robot = np.ascontiguousarray(back["actions"], np.float32)
        return Chunk(model=np.ascontiguousarray(actions[:, : robot.shape[1]]), robot=robot)


class Pi0Policy(PiPolicy):
    """`policy: pi0`."""

    family = "pi0"


class Pi05Policy(PiPolicy):
    """`policy: pi05`."""

    family = "pi05"


class Pi0FastPolicy(PiPolicy):
    """`policy: pi0_fast`."""

    family = "pi0_fast"
