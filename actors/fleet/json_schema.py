"""The JSON schema of fleet.yaml, for editors."""

from __future__ import annotations

from typing import Any

import msgspec

from ...policy.policy_options import OPTIONS as OF_POLICIES
from ..runtime.spec import Rules
from .kind_options import of_camera, of_robot
from .schema import FleetFile


def schema() -> dict[str, Any]:
    """The schema, as a JSON object."""
    made = msgspec.json.schema(FleetFile)
    _complete(made["$defs"])
    _make_readable(made)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "fleet.yaml of Holdfast",
        **made,
    }


def _complete(definitions: dict[str, Any]) -> None:
    """Complete the JSON schema's `definitions` of fleet.yaml: the keys allowed where
    the structs take any mapping, by the kind beside it."""
    (rules,), parts = msgspec.json.schema_components([Rules], ref_template="#/$defs/{name}")
    definitions |= parts
    definitions["Supervision"]["properties"]["rules"]["additionalProperties"] = rules
    kinds: list[tuple[str, str, dict[str, Any]]] = [
        ("ServiceEntry", "policy", dict(OF_POLICIES)),
        (
            "CameraEntry",
            "driver",
            {driver: of_camera(driver) for driver in ("sim", "opencv", "lerobot")},
        ),
        ("RobotEntry", "driver", {"sim": of_robot("sim")}),
    ]
    for owner, key, structs in kinds:
        _, parts = msgspec.json.schema_components(
            list(structs.values()), ref_template="#/$defs/{name}"
        )
        definitions |= parts
        usual = definitions[owner]["properties"][key].get("default")
        definitions[owner]["allOf"] = [
            {
                "if": {
                    "properties": {key: {"const": kind}},
                    # A key that is not there has its default.
                    **({} if kind == usual else {"required": [key]}),
                },
                "then": {"properties": {"options": {"$ref": f"#/$defs/{struct.__name__}"}}},
            }
            for kind, struct in structs.items()
        ]


def _make_readable(value: Any) -> None:
    r"""Have the patterns end in `$` for editors, whose regular expressions (ECMA 262) know no `\Z`,
    and whose `$` takes no line feed before the end as Python's does."""
    for key, within in value.items() if isinstance(value, dict) else enumerate(value):
        if key == "pattern" and isinstance(within, str):
            value[key] = within.replace(r"\Z", "$")
        elif isinstance(within, dict | list):
            _make_readable(within)
