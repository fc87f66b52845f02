"""What a replica states about itself: its registration with the broker, the origin of its capture,
the hash of its configuration."""

from __future__ import annotations

import hashlib
import os
import socket

import msgspec

from ...transport.bodies import Register
from ...transport.host import boot_id
from ..runtime.configs import InferenceConfig
from .capture import Origin
from .policy_runner import PolicyRunner


def registration(
    name: str,
    incarnation: int,
    config: InferenceConfig,
    runner: PolicyRunner,
    capacity: int,
    load_s: float = 0.0,
) -> Register:
    """The REGISTER of the replica `name`, which holds `capacity` sessions and took `load_s` to
    load."""
    spec, weights = runner.spec, runner.policy.checkpoint_hash
    return Register(
        replica=name,
        service=config.service,
        capacity=capacity,
        service_limit=0 if config.script else config.max_sessions,
        model=spec.model,
        revision=spec.revision,
        checkpoint=weights,
        cameras={c.name: (c.width, c.height) for c in spec.cameras},
        state_names=spec.state_names,
        action_names=spec.action_names,
        chunk_size=spec.chunk_size,
        fps=spec.fps,
        control_mode=spec.control_mode,
        prefix=spec.prefix,
        max_prefix_steps=spec.max_prefix_steps,
        stateful=runner.mode == "exclusive",
        batch_s=tuple(runner.times[size] for size in sorted(runner.times)),
        host=config.host or socket.gethostname(),
        boot_id=boot_id(),
        pid=os.getpid(),
        kind="script" if config.script else "fleet",
        incarnation=incarnation,
        contract=spec.contract(weights),
        pin_task=config.pin_task,
        default_task=config.default_task,
        strict_fps=config.strict_fps,
        observation_steps=spec.observation_steps,
        observation_stride_steps=spec.observation_stride_steps,
        load_s=round(load_s, 3),
    )


def origin(config: InferenceConfig, runner: PolicyRunner) -> Origin:
    """The first record of the replica's captures."""
    return Origin(
        service=config.service,
        policy=config.policy,
        checkpoint=config.checkpoint,
        checkpoint_hash=runner.policy.checkpoint_hash,
        device=config.device,
        dtype=config.dtype,
        threads=config.threads,
        options=config.options,
        import_path=config.import_path,
        revision=config.revision,
        pin_task=config.pin_task,
        default_task=config.default_task,
    )


def configuration_hash(config: InferenceConfig) -> str:
    """Equal for equal configurations."""
    return hashlib.sha256(msgspec.json.encode(config, order="sorted")).hexdigest()[:16]
