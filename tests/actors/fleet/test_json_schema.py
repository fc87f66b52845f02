"""The JSON schema of fleet.yaml."""

from __future__ import annotations

import json
import re

from holdfast.actors.fleet.json_schema import schema
from holdfast.actors.fleet.schema import FleetFile
from holdfast.policy.policy_options import OPTIONS


def test_the_schema_describes_every_key() -> None:
    """Every field of the file's struct is a property of the schema."""
    found = schema()["$defs"]
    assert "fps" in found["RobotEntry"]["properties"]
    assert set(found["FleetFile"]["properties"]) == set(FleetFile.__struct_fields__)


def test_the_schema_shows_the_options_of_every_kind() -> None:
    """By the policy or driver beside them; the kind that is meant when none is named, too."""
    made = schema()["$defs"]
    for owner, struct in (
        *(("ServiceEntry", kind.__name__) for kind in OPTIONS.values()),
        ("CameraEntry", "OpenCVOptions"),
        ("CameraEntry", "SimCameraOptions"),
        ("RobotEntry", "SimOptions"),
    ):
        shown = [
            case["then"]["properties"]["options"]["$ref"].rpartition("/")[2]
            for case in made[owner]["allOf"]
        ]
        assert struct in shown
        assert made[struct]["additionalProperties"] is False
    usual = made["CameraEntry"]["allOf"][0]["if"]
    assert usual == {"properties": {"driver": {"const": "sim"}}}
    assert made["Supervision"]["properties"]["rules"]["additionalProperties"] == {
        "$ref": "#/$defs/Rules"
    }


def test_the_patterns_are_those_of_editors() -> None:
    r"""ECMA 262 has neither `\Z` nor named groups as Python writes them."""
    found = re.findall(r'"pattern": ("(?:[^"\\]|\\.)*")', json.dumps(schema()))
    patterns = {json.loads(each) for each in found}
    assert "^[A-Za-z0-9][A-Za-z0-9_-]{0,31}$" in patterns and len(patterns) > 5
    for pattern in patterns:
        assert not re.search(r"\\[AZ]|\(\?P|\(\?[aiLmsux]", pattern)
