"""`telemetry` in fleet.yaml: what is accepted, who sends traces, what is missing here."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from holdfast.actors.fleet import surroundings
from holdfast.actors.fleet.expand import expand
from holdfast.actors.fleet.loading import loads
from holdfast.actors.telemetry import otlp_export
from holdfast.errors import FleetError
from holdfast.tests.peers.environments import ROOT

GUIDE = (ROOT / "docs" / "telemetry.md").read_text()


def fleet(**telemetry: Any) -> Any:
    return loads(
        yaml.safe_dump({"name": "t", "telemetry": telemetry, "gateway": {"enabled": False}})
    )


def test_the_guides_lines_of_fleet_yaml_are_right() -> None:
    """And lead to one more actor, of the broker's host here."""
    (text,) = re.findall(r"^```yaml\n(.*?)^```$", GUIDE, re.DOTALL | re.MULTILINE)
    values = yaml.safe_load(text)
    made = expand(fleet(**values["telemetry"]), None, Path("/run/t"), Path("/var/t"))
    (actor,) = (actor for actor in made if actor.kind == "telemetry")
    assert actor.config["otlp"] == "http://localhost:4318" and actor.config["broker"]
    (broker,) = (actor for actor in made if actor.kind == "broker")
    assert broker.config["audit_bytes"] > 0 and broker.config["evidence"] == "/var/t"


@pytest.mark.parametrize("address", ["localhost:4318", "grpc://h:4317", "http://", "http://h x"])
def test_an_address_that_is_none_is_refused_with_its_place(address: str) -> None:
    """The file is refused before anything starts."""
    with pytest.raises(FleetError, match=r"\$\.telemetry\.otlp"):
        fleet(otlp=address)


def test_a_misspelt_key_is_refused() -> None:
    """The fault names the key that was meant."""
    with pytest.raises(FleetError, match="otlp"):
        fleet(oltp="http://h:4318")


def test_a_machine_without_the_extra_is_named_with_the_remedy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A fleet without telemetry does not need it."""
    monkeypatch.setattr(otlp_export, "is_installed", lambda: False)
    (fault,) = surroundings.faults_here(fleet(otlp="http://h:4318"), None)
    assert fault.path == "$.telemetry" and "holdfast[otel]" in str(fault)
    assert surroundings.faults_here(loads("name: t"), None) == []


TWO_HOSTS = """
name: lab
hosts: {server: {address: 10.0.0.2}, cell1: {address: 10.0.0.11}}
broker: {host: server}
security: {insecure: true}
telemetry: {otlp: "http://10.0.0.2:4318"}
services: {pick: {policy: constant, checkpoint: conveyor-flow, host: server, replicas: 2}}
robots:
  - {name: r1, host: cell1, driver: sim, service: pick, cameras: {overhead: {}, wrist: {}}}
gateway: {enabled: false}
"""


def test_each_host_sends_what_its_own_actors_recorded() -> None:
    """Together all of a request, none of it twice."""
    sent = {}
    for host in ("server", "cell1"):
        made = expand(loads(TWO_HOSTS), host, Path("/run/t"), Path("/var/t"))
        (sent[host],) = (actor.config for actor in made if actor.kind == "telemetry")
    assert sent["server"]["replicas"] == ["pick/0", "pick/1"] and sent["server"]["broker"]
    assert sent["cell1"]["robots"] == ["r1"] and not sent["cell1"]["broker"]
    assert sent["server"]["robots"] == [] and sent["cell1"]["replicas"] == []
    assert {host: config["host"] for host, config in sent.items()} == {h: h for h in sent}
