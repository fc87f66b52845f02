"""The serving mode that the process before found by its probe, and when it holds for the next."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from holdfast.actors.inference.policy_loading import probed_before
from holdfast.actors.runtime.configs import InferenceConfig
from holdfast.tests.actors.inference.toy_policy import Toy

CONFIG = InferenceConfig(service="pick", replica=0, brokers=(), policy="flow", checkpoint="c")
STATUS = {
    "configuration": "as now",
    "checkpoint": Toy.checkpoint_hash,
    "mode": "shared",
    "mode_reason": "they match",
}


def found(status: dict[str, Any], **config: Any) -> object:
    return probed_before(status, Toy(), msgspec.structs.replace(CONFIG, **config), "as now")


def test_the_same_weights_in_the_same_configuration_are_not_probed_again() -> None:
    """Whatever was found."""
    assert found(STATUS) == ("shared", "they match")
    alone = {**STATUS, "mode": "exclusive", "mode_reason": "it remembers"}
    assert found(alone) == ("exclusive", "it remembers")


@pytest.mark.parametrize(
    ("status", "config"),
    [
        ({}, {}),
        ({**STATUS, "configuration": "another"}, {}),
        ({**STATUS, "checkpoint": "others"}, {}),
        ({**STATUS, "mode": "damaged"}, {}),
        (STATUS, {"policy": "my_module:MyPolicy"}),
        (STATUS, {"policy": "lerobot"}),
        (STATUS, {"script": True}),
    ],
    ids=["first", "configuration", "weights", "damaged", "own", "library", "script"],
)
def test_what_may_be_another_policy_is_probed(
    status: dict[str, Any], config: dict[str, Any]
) -> None:
    """Its code or its weights may not be those of the process before."""
    assert found(status, **config) is None
