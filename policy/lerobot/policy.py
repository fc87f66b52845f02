"""`LeRobotPolicy`: any policy of the LeRobot library as replicas know policies."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import PolicyError
from ..base import Chunk, Observation, PolicySpec
from ..processing import check_observation
from . import files, loaded
from .families import family_of


class LeRobotPolicy:
    """The policy of a checkpoint, with the library's own pre- and postprocessor.

    An exclusive policy predicts through its own `select_action`, which fills its queues; each call
    gives the whole chunk. Raises PolicyError, also where what was loaded is not in the files.
    """

    def __init__(
        self,
        checkpoint: str | None = None,
        revision: str | None = None,
        device: str = "cpu",
        dtype: str | None = None,
        **options: Any,
    ) -> None:
        given = files.options_of(options)
        folder = files.folder_of(checkpoint, revision, whole=True)
        self.spec = files.spec_of(folder, str(checkpoint), revision, given)
        self.checkpoint_hash = files.hash_of(folder, dtype, self.spec)
        config = files.config_of(folder)
        self._visual = {
            f"observation.images.{camera.name}"
            if f"observation.images.{camera.name}" in config["input_features"]
            else f"observation.{camera.name}": camera.name
            for camera in self.spec.cameras
        }
        try:
            self._load(folder, device, dtype)
        except PolicyError:
            raise
        except ModuleNotFoundError as error:
            raise PolicyError(
                f"policy lerobot needs {error.name}, which is not installed here: `pip install "
                "lerobot` with the extra of the policy's family, or name the interpreter that has "
                "it by `python:` of the service"
            ) from error
        except Exception as error:
            line = " ".join(str(error).split())
            raise PolicyError(
                f"LeRobot cannot load {checkpoint} ({type(error).__name__}: {line:.400})"
            ) from error
        loaded.verify(self._policy, (self._before, self._after), folder)
        self._noise = family_of(config).noise
        self.execution = f"LeRobot {config['type']}"

    def _load(self, folder: Path, device: str, dtype: str | None) -> None:
        configs = importlib.import_module("lerobot.configs")
        factory = importlib.import_module("lerobot.policies.factory")
        importlib.import_module("lerobot.policies")  # registers the families
        utils = importlib.import_module("lerobot.policies.utils")
        importlib.import_module("lerobot.utils.import_utils").register_third_party_plugins()
        self._torch = importlib.import_module("torch")
        config = configs.PreTrainedConfig.from_pretrained(str(folder))
        config.device = device
        if getattr(config, "pretrained_backbone_weights", None):
            # They would be downloaded, and then replaced by the checkpoint's.
            config.pretrained_backbone_weights = None
        if dtype is not None:
            if not hasattr(config, "dtype"):
                raise PolicyError(
                    f"a LeRobot policy of family {config.type} has no dtype to choose: remove "
                    "`dtype` of the service"
                )
            config.dtype = dtype
        self._policy = factory.get_policy_class(config.type).from_pretrained(
            str(folder), config=config
        )
        self._before, self._after = factory.make_pre_post_processors(
            config,
            str(folder),
            preprocessor_overrides={"device_processor": {"device": device}},
        )
        self._prepare = utils.prepare_observation_for_inference
        self._device = self._torch.device(device)

    @classmethod
    def describe(
        cls,
        checkpoint: str | None = None,
        revision: str | None = None,
        device: str = "cpu",  # noqa: ARG003  the spec does not depend on it
        dtype: str | None = None,  # noqa: ARG003
        **options: Any,
    ) -> PolicySpec:
        """The spec by the checkpoint's configuration alone. Raises PolicyError."""
        given = files.options_of(options)
        folder = files.folder_of(checkpoint, revision, whole=False)
        return files.spec_of(folder, str(checkpoint), revision, given)

    def predict_chunk(self, batch: Sequence[Observation]) -> list[Chunk]:
        """One chunk for each observation, in order. Raises ValueError for one that does not fit the
        spec."""
        for observation in batch:
            check_observation(self.spec, observation)
        inputs = self._before(self._together([self._frame(each) for each in batch]))
        if self.spec.stateful:
            self._torch.manual_seed(batch[0].seed)
            actions = self._exclusive(inputs)
        else:
            actions = self._shared(inputs, [each.seed for each in batch])
        robot = self._after(actions)
        return [
            Chunk(model=_plain(of_model), robot=_plain(of_robot))
            for of_model, of_robot in zip(actions, robot, strict=True)
        ]

    def reset(self) -> None:
        """Begin an episode: empty the queues."""
        self._policy.reset()
        self._before.reset()
        self._after.reset()

    def _frame(self, observation: Observation) -> dict[str, Any]:
        """The library's own form of an observation, of batch size 1."""
        # Copies: received arrays are not writable, which torch requires.
        frame: dict[str, NDArray[Any]] = {
            key: observation.images[name].copy() for key, name in self._visual.items()
        }
        if self.spec.state_names:
            frame["observation.state"] = observation.state.copy()
        made: dict[str, Any] = self._prepare(frame, self._device, task=observation.task)
        return made

    def _together(self, frames: list[dict[str, Any]]) -> dict[str, Any]:
        first = frames[0]
        if len(frames) == 1:
            return first
        return {
            key: self._torch.cat([frame[key] for frame in frames])
            if isinstance(value, self._torch.Tensor)
            else [frame[key] for frame in frames]
            for key, value in first.items()
        }

    def _shared(self, inputs: dict[str, Any], seeds: list[int]) -> Any:
        """The chunks; each has the noise that the library draws for it alone, after its seed."""
        given: dict[str, Any] = {}
        if self._noise and len(seeds) > 1:
            given["noise"] = self._torch.cat([self._noise_of(seed) for seed in seeds])
        self._torch.manual_seed(seeds[0])
        return self._policy.predict_action_chunk(inputs, **given)

    def _noise_of(self, seed: int) -> Any:
        """By `sample_noise` of the library's flow matching policies, 0.6.1."""
        self._torch.manual_seed(seed)
        config = self._policy.config
        shape = (1, config.chunk_size, config.max_action_dim)
        return self._torch.normal(
            mean=0.0, std=1.0, size=shape, dtype=self._torch.float32, device=self._device
        )

    def _exclusive(self, inputs: dict[str, Any]) -> Any:
        """The chunk that the policy's own `select_action` predicts, after it filled its queues."""
        policy, made = self._policy, []
        predict = policy.predict_action_chunk

        def keeping(*arguments: Any, **named: Any) -> Any:
            made.append(predict(*arguments, **named))
            return made[-1]

        queues = getattr(policy, "_queues", None)
        waiting = queues["action"] if queues else getattr(policy, "_action_queue", ())
        if waiting:
            waiting.clear()  # an action that waits there would be given instead of a new chunk
        policy.predict_action_chunk = keeping
        try:
            policy.select_action(inputs)
        finally:
            del policy.predict_action_chunk
        if not made:
            raise RuntimeError(
                f"select_action of {type(policy).__name__} predicted no chunk: this policy can "
                "only be served with `serving_mode: shared`"
            )
        return made[-1]


def _plain(actions: Any) -> NDArray[np.float32]:
    """A chunk of the library as an array of its own."""
    return np.ascontiguousarray(actions.detach().float().cpu().numpy())
