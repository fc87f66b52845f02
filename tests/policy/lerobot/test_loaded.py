"""What was loaded against the files: the names, which need no library."""

from __future__ import annotations

from typing import Any

from holdfast.policy.lerobot.loaded import sources


class Renaming:
    """A policy whose loader renames one tensor and uses another twice, as pi0's does."""

    config = None

    def _fix_pytorch_state_dict_keys(self, state: dict[str, Any], _: object) -> dict[str, Any]:
        fixed = {name.replace("time_mlp", "action_time_mlp"): v for name, v in state.items()}
        return {**fixed, "model.embed": state["lm_head"].clone()}


def test_a_tensor_is_compared_with_the_one_that_its_family_loads_it_from() -> None:
    """Renamed, used twice, or below `model.`; of other families under its own name."""
    held = {"model.action_time_mlp", "model.lm_head", "model.embed"}
    assert sources(Renaming(), ["time_mlp", "lm_head"], held) == {
        "model.action_time_mlp": "time_mlp",
        "model.lm_head": "lm_head",
        "model.embed": "lm_head",
    }
    assert sources(object(), ["a", "b"], {"a", "model.b"}) == {"a": "a", "model.b": "b"}
    assert sources(object(), ["of_nothing"], {"a"}) == {"of_nothing": "of_nothing"}
