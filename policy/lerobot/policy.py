"""`LeRobotPolicy`: any policy of the LeRobot library as replicas know policies."""

from __future__ import annotations

import importlib
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..base import Chunk, Observation, PolicySpec
from ..processing import check_observation
from . import checkpoint_folder, files, loaded, policy_library
from .families import family_of
from .processor_pairs import ProcessorPair, ProcessorPairs


@dataclass(frozen=True)
class Prepared:
    """An observation after its session's preprocessor: `inputs` of batch size 1, `earlier` those of
    the observations before it, the oldest first; `prefix` [1, P, A] in the network's space, or
    None."""

    inputs: dict[str, Any]
    earlier: list[dict[str, Any]]
    pair: ProcessorPair
    seed: int
    prefix: Any | None
    delay_steps: int
    guidance: policy_library.Guidance


class LeRobotPolicy:
    """The policy of a checkpoint, with a pair of the library's own processors for each session.

    A policy with queues predicts through its own `select_action`, which fills them; each call gives
    the whole chunk. Raises PolicyError, also where what was loaded is not in the files.
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
        folder = checkpoint_folder.folder_of(checkpoint, revision, whole=True)
        self.spec = files.spec_of(folder, str(checkpoint), revision, given)
        guidance = [getattr(given, name) for name in files.GUIDANCE]
        self.checkpoint_hash = checkpoint_folder.hash_of(folder, dtype, self.spec, guidance)
        config = files.config_of(folder)
        self._family = family_of(config)
        self._queues = files.keeps_queues(config, given)
        self._visual = {
            f"observation.images.{camera.name}"
            if f"observation.images.{camera.name}" in config["input_features"]
            else f"observation.{camera.name}": camera.name
            for camera in self.spec.cameras
        }
        self._torch: Any
        with policy_library.errors_of(str(checkpoint)):
            self._torch = importlib.import_module("torch")
            self._policy, before, after = policy_library.load(folder, device, dtype)
            if self.spec.prefix == "guided":
                self._chunking = policy_library.RealTimeChunking(
                    self._policy, given, self.spec.max_prefix_steps
                )
        loaded.verify(self._policy, (before, after), folder)
        self._pairs = ProcessorPairs(before, after)
        self._prepare_frame = policy_library.frame_maker()
        self._device = self._torch.device(device)
        self.execution = f"LeRobot {policy_library.version()}, {config['type']}"

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
        folder = checkpoint_folder.folder_of(checkpoint, revision, whole=False)
        return files.spec_of(folder, str(checkpoint), revision, given)

    def predict_chunk(self, batch: Sequence[Observation]) -> list[Chunk]:
        """One chunk for each observation, in order. Raises ValueError for one that does not fit the
        spec."""
        for observation in batch:
            check_observation(self.spec, observation)
        seen: Counter[str] = Counter()
        prepared = []
        for observation in batch:
            # Two of one session, or without one, do not see each other's state.
            pair = self._pairs.of((observation.session, seen[observation.session]))
            seen[observation.session] += 1
            prepared.append(self._prepared(observation, pair))
        made: dict[int, Chunk] = {}
        for places in self._groups(prepared):
            group = [prepared[place] for place in places]
            actions = self._queued(group[0]) if self._queues else self._together(group)
            for row, (place, each) in enumerate(zip(places, group, strict=True)):
                # The whole chunk, with the state that the same pair saw in this request.
                own = actions[row : row + 1]
                made[place] = Chunk(model=_plain(own), robot=_plain(each.pair.after(own)))
        return [made[place] for place in range(len(batch))]

    def reset(self) -> None:
        """Begin an episode: empty the queues, forget what processors keep."""
        self._policy.reset()
        self._pairs.forget()

    def _prepared(self, observation: Observation, pair: ProcessorPair) -> Prepared:
        earlier = [
            self._inputs(
                pair,
                observation.task,
                states[place],
                {name: frames[place] for name, frames in observation.image_history.items()},
            )
            for states in [observation.state_history]
            if states is not None
            for place in range(len(states) - 1)
        ]
        inputs = self._inputs(pair, observation.task, observation.state, observation.images)
        prefix = self._prefix(pair, observation)
        guidance = (
            observation.execution_horizon,
            observation.guidance_schedule,
            observation.guidance_clip,
        )
        return Prepared(
            inputs, earlier, pair, observation.seed, prefix, observation.delay_steps, guidance
        )

    def _inputs(
        self,
        pair: ProcessorPair,
        task: str,
        state: NDArray[np.float32],
        images: Mapping[str, NDArray[np.uint8]],
    ) -> dict[str, Any]:
        # Copies: received arrays are not writable, which torch requires.
        frame: dict[str, NDArray[Any]] = {
            key: images[name].copy() for key, name in self._visual.items()
        }
        if self.spec.state_names:
            frame["observation.state"] = state.copy()
        inputs: dict[str, Any] = pair.before(self._prepare_frame(frame, self._device, task=task))
        return inputs

    def _prefix(self, pair: ProcessorPair, observation: Observation) -> Any | None:
        """The rest of the plan [1, P, A] for the network; of relative actions counted from the
        state of this observation. Raises ValueError for one without its form in robot space."""
        prefix = observation.prefix
        if self.spec.prefix == "none" or prefix is None or not len(prefix):
            return None
        prefix = prefix[: self.spec.max_prefix_steps]
        if pair.relative:
            if observation.prefix_robot is None:
                raise ValueError(
                    "prefix_robot is missing: the model-space prefix of a policy with relative "
                    "actions counts from the state of an older request; send both"
                )
            return pair.reanchored(observation.prefix_robot[: len(prefix)], self._device)[None]
        return self._torch.from_numpy(prefix.copy()).to(self._device)[None]

    def _groups(self, prepared: Sequence[Prepared]) -> list[list[int]]:
        """The places of observations that one call of the library may predict: it takes one delay
        and guidance, prefixes of one length, and noise from outside or none."""
        groups: dict[object, list[int]] = defaultdict(list)
        for place, each in enumerate(prepared):
            key: object = each.prefix is not None and (
                each.delay_steps,
                each.guidance,
                each.prefix.shape,
            )
            alone = self._queues or self._family.noise == "drawn"
            groups[place if alone else key].append(place)
        return list(groups.values())

    def _together(self, group: Sequence[Prepared]) -> Any:
        """The actions [B, H, A]; each has the noise that the library draws for it alone, after its
        seed."""
        given: dict[str, Any] = {}
        if self._family.noise == "given" and len(group) > 1:
            given["noise"] = self._torch.cat([self._noise_of(each.seed) for each in group])
        if group[0].prefix is not None:
            # As rollout/inference/rtc.py of 0.6.1, which however fills a prefix shorter than the
            # execution horizon with zeros, and so guides towards zero.
            given["prev_chunk_left_over"] = self._torch.cat([each.prefix for each in group])
            given["inference_delay"] = group[0].delay_steps
            self._chunking.use(group[0].guidance)
        inputs = self._joined([each.inputs for each in group])
        self._torch.manual_seed(group[0].seed)
        return self._batch_first(self._policy.predict_action_chunk(inputs, **given))

    def _joined(self, inputs: Sequence[dict[str, Any]]) -> dict[str, Any]:
        first = inputs[0]
        if len(inputs) == 1:
            return first
        joined = dict(first)
        for key, value in first.items():
            if isinstance(value, self._torch.Tensor):
                values = [each[key] for each in inputs]
                joined[key] = self._torch.cat(self._padded(key, values))
            elif isinstance(value, list):
                joined[key] = [one for each in inputs for one in each[key]]
        return joined

    def _padded(self, key: str, values: list[Any]) -> list[Any]:
        """Tokens and their mask [1, T] of the longest task's length: SmolVLA's tokenizer fills up
        to the longest of what it sees together."""
        if not key.startswith("observation.language."):
            return values
        longest = max(value.shape[-1] for value in values)
        pad = self._torch.nn.functional.pad
        return [pad(value, (0, longest - value.shape[-1])) for value in values]

    def _noise_of(self, seed: int) -> Any:
        """By `sample_noise` of the library's flow matching policies, 0.6.1."""
        self._torch.manual_seed(seed)
        config = self._policy.config
        shape = (1, config.chunk_size, config.max_action_dim)
        return self._torch.normal(
            mean=0.0, std=1.0, size=shape, dtype=self._torch.float32, device=self._device
        )

    def _batch_first(self, actions: Any) -> Any:
        return actions.transpose(0, 1) if self._family.steps_first else actions

    def _fill(self, earlier: Sequence[dict[str, Any]]) -> None:
        """Let the queues of observations hold `earlier`, as if the policy had stepped through them
        from the beginning of an episode."""
        policy, actions = self._policy, len(self.spec.action_names)
        policy.reset()
        nothing = self._torch.zeros(1, 1, actions, device=self._device)
        policy.predict_action_chunk = lambda *_, **__: nothing
        try:
            for inputs in earlier:
                policy.select_action(inputs)  # takes the one action of no meaning at once
        finally:
            del policy.predict_action_chunk

    def _queued(self, one: Prepared) -> Any:
        """The chunk that the policy's own `select_action` predicts, after it filled its queues."""
        policy, made = self._policy, []
        if self._family.history:
            self._fill(one.earlier)
        predict = policy.predict_action_chunk

        def keeping(*arguments: Any, **named: Any) -> Any:
            made.append(predict(*arguments, **named))
            return made[-1]

        queues = getattr(policy, "_queues", None)
        waiting = queues["action"] if queues else getattr(policy, "_action_queue", ())
        if waiting:
            waiting.clear()  # an action that waits there would be given instead of a new chunk
        self._torch.manual_seed(one.seed)
        policy.predict_action_chunk = keeping
        try:
            policy.select_action(one.inputs)
        finally:
            del policy.predict_action_chunk
        if not made:
            raise RuntimeError(
                f"select_action of {type(policy).__name__} predicted no chunk: this policy can "
                "only be served with `serving_mode: shared`"
            )
        return self._batch_first(made[-1])


def _plain(actions: Any) -> NDArray[np.float32]:
    """The chunk of a batch of one as an array of its own."""
    array: NDArray[np.float32] = actions[0].detach().float().cpu().numpy()
    return np.array(array, order="C")
