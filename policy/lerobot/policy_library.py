"""The calls of the LeRobot library that load a policy. Tried with 0.4.4 and 0.6.1."""

from __future__ import annotations

import dataclasses
import importlib
import importlib.metadata
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ...errors import PolicyError
from ..base import Schedule
from .files import LeRobotOptions

Guidance = tuple[int | None, Schedule | None, float | None]
"""Execution horizon, schedule, and the bound of the weight; None: as usual."""

SUPPORTED = "0.4.4 to 0.6.1"


def version() -> str:
    """The installed library's."""
    return importlib.metadata.version("lerobot")


@contextmanager
def errors_of(checkpoint: str) -> Iterator[None]:
    """What the library raises as a PolicyError with the remedy."""
    try:
        yield
    except PolicyError:
        raise
    except ModuleNotFoundError as error:
        name = str(error.name)
        if name.startswith("lerobot."):
            raise PolicyError(
                f"LeRobot {version()} has no {name}: policy lerobot works with {SUPPORTED}; "
                "name the interpreter that has one of these by `python:` of the service"
            ) from error
        raise PolicyError(
            f"policy lerobot needs {name}, which is not installed here: `pip install "
            "lerobot` with the extra of the policy's family, or name the interpreter that has "
            "it by `python:` of the service"
        ) from error
    except Exception as error:
        line = " ".join(str(error).split())
        raise PolicyError(
            f"LeRobot {version()} cannot load {checkpoint} ({type(error).__name__}: {line:.400}); "
            f"supported are {SUPPORTED}, and a checkpoint of a newer one may not load in an older"
        ) from error


def load(folder: Path, device: str, dtype: str | None) -> tuple[Any, Any, Any]:
    """The policy, its preprocessor and its postprocessor. Raises PolicyError, and what the library
    raises."""
    configs = importlib.import_module("lerobot.configs.policies")
    factory = importlib.import_module("lerobot.policies.factory")
    importlib.import_module("lerobot.policies")  # registers the families
    importlib.import_module("lerobot.processor")  # what older ones register
    importlib.import_module("lerobot.utils.import_utils").register_third_party_plugins()
    with _removed_files():
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
    policy = factory.get_policy_class(config.type).from_pretrained(str(folder), config=config)
    before, after = factory.make_pre_post_processors(
        config,
        str(folder),
        preprocessor_overrides={"device_processor": {"device": device}},
    )
    return policy, before, after


@contextmanager
def _removed_files() -> Iterator[None]:
    """Temporary files go into a directory that is removed at the end: the library leaves the copy
    of a configuration that it parses."""
    before = tempfile.tempdir
    with tempfile.TemporaryDirectory() as folder:
        tempfile.tempdir = folder
        try:
            yield
        finally:
            tempfile.tempdir = before


class RealTimeChunking:
    """The library's guidance of a policy, turned on as its own rollout does; `horizon`: for so many
    steps. Raises PolicyError for a policy that has none."""

    def __init__(self, policy: Any, options: LeRobotOptions, horizon: int) -> None:
        supports = getattr(policy, "supports_rtc", None)  # since 0.6
        if not (supports() if callable(supports) else hasattr(policy, "init_rtc_processor")):
            raise PolicyError(
                f"options: prefix: LeRobot's {type(policy).__name__} does not support real-time "
                "chunking: remove it, or write `prefix: none`"
            )
        rtc = importlib.import_module("lerobot.policies.rtc.configuration_rtc")
        self._policy = policy
        self._usual = policy.config.rtc_config or rtc.RTCConfig()
        self._usual = self._with((horizon, options.schedule, options.clip))
        policy.config.rtc_config = self._usual
        policy.init_rtc_processor()

    def use(self, guidance: Guidance) -> None:
        """Use these settings, and the policy's own where one is None."""
        self._policy.rtc_processor.rtc_config = self._with(guidance)

    def _with(self, guidance: Guidance) -> Any:
        horizon, schedule, clip = guidance
        changed: dict[str, Any] = {"enabled": True}
        if horizon is not None:
            changed["execution_horizon"] = horizon
        if schedule is not None:
            schedules = type(self._usual.prefix_attention_schedule)
            changed["prefix_attention_schedule"] = schedules(schedule.upper())
        if clip is not None:
            changed["max_guidance_weight"] = clip
        return dataclasses.replace(self._usual, **changed)


def frame_maker() -> Callable[..., dict[str, Any]]:
    """The library's function from arrays by feature to tensors of batch size 1."""
    utils = importlib.import_module("lerobot.policies.utils")
    made: Callable[..., dict[str, Any]] = utils.prepare_observation_for_inference
    return made
