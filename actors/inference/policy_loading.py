"""From a replica's configuration to a warmed-up policy. Every misfit is a RefusedError: another
process of the same configuration would fail alike."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import Any

from ...errors import PolicyError, RefusedError, UnfitPolicyError
from ...policy.base import ChunkPolicy, Observation
from ...policy.kinds import load_policy
from ..runtime.configs import InferenceConfig
from . import user_policy
from .device_errors import is_device_error
from .example import Examples
from .policy_runner import PolicyRunner
from .statefulness_probe import Mode


def loaded(
    policy: str,
    checkpoint: str | None,
    device: str,
    dtype: str,
    options: Mapping[str, Any],
    import_path: str | None,
    revision: str | None = None,
) -> ChunkPolicy:
    """A policy that is built in, or the user's own. Raises PolicyError."""
    if user_policy.is_own(policy):
        given = user_policy.keywords(options, checkpoint, device, dtype, revision)
        return user_policy.create(policy, given, import_path)
    assert checkpoint is not None, "a built-in policy without a checkpoint is refused before"
    return load_policy(policy, checkpoint, device, dtype, **options)


def configured_policy(config: InferenceConfig) -> ChunkPolicy:
    """Load the policy of `config` onto its device. Raises RefusedError, and PolicyError where
    another process may succeed: the device failed, or a network or a disk."""
    if config.checkpoint is None and not user_policy.is_own(config.policy):
        raise RefusedError(
            f"service {config.service} names no checkpoint: a policy of kind {config.policy} "
            "needs one, a directory or the name of a shipped one; set `checkpoint`"
        )
    try:
        policy = loaded(
            config.policy,
            config.checkpoint,
            config.device,
            config.dtype,
            config.options,
            config.import_path,
            config.revision,
        )
    except PolicyError as error:
        if _may_pass(error.__cause__):
            raise
        raise RefusedError(str(error)) from error
    if not callable(getattr(policy, "predict_chunk", None)):
        raise RefusedError(
            f"policy kind {config.policy} of service {config.service} predicts no chunks "
            "(it has no predict_chunk): only policies with a chunk API can be served"
        )
    # Only after loading is it known whether the policy imports torch.
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(config.threads)
    return policy


def _may_pass(cause: BaseException | None) -> bool:
    """Whether what the user's constructor raised depends on the moment, not on the file."""
    if cause is None or isinstance(cause, FileNotFoundError | PermissionError | ImportError):
        return False
    return isinstance(cause, OSError) or is_device_error(cause)


def probed_before(
    before: Mapping[str, Any], policy: ChunkPolicy, config: InferenceConfig, configuration: str
) -> tuple[Mode, str] | None:
    """The serving mode, and why, that a process before this one found by its probe, by its status
    `before`; None where this one has to probe. That takes half of a start, during which robots have
    no chunks. It tells the same only of the same weights, and of code that is ours: the user's may
    have been changed meanwhile."""
    if (
        config.script
        or user_policy.is_own(config.policy)
        or before.get("configuration") != configuration
        or before.get("checkpoint") != policy.checkpoint_hash
        or before.get("mode") not in ("shared", "exclusive")
    ):
        return None
    return before["mode"], str(before.get("mode_reason", ""))


def largest_batch(config: InferenceConfig) -> int:
    """The largest batch that `config` allows."""
    return config.max_batch if config.scheduling == "deadline" else 1


def warmed_up(
    policy: ChunkPolicy,
    config: InferenceConfig,
    example: Observation | None,
    on_call: Callable[[], None],
    probed: tuple[Mode, str] | None = None,
) -> PolicyRunner:
    """`policy` after its warm-up with observations like `example`, which are synthetic by default;
    `probed` is as in `PolicyRunner.warm_up`. Raises RefusedError."""
    task = config.pin_task or config.default_task
    try:
        runner = PolicyRunner(policy, Examples(policy.spec, task, example), on_call)
        runner.warm_up(largest_batch(config), probed)
    except UnfitPolicyError as error:
        raise RefusedError(str(error)) from error
    return runner
