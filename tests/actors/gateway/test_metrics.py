"""/metrics: the report's figures in base units, under the documented names."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as parse_openmetrics,
)
from prometheus_client.parser import text_string_to_metric_families as parse_text

from holdfast.actors.gateway.metric_names import FAMILIES
from holdfast.actors.gateway.metrics import ACTOR_STATES, ROBOT_STATES
from holdfast.actors.supervision.supervised import ActorState
from holdfast.tests.actors.gateway.running_gateway import Gateway
from holdfast.tests.actors.gateway.scripted_supervisor import ScriptedSupervisor
from holdfast.tests.waiting import wait_until

ROOT = Path(__file__).parents[3]


def scrape(gateway: Gateway) -> dict[str, dict[tuple[tuple[str, str], ...], float]]:
    """Samples by name and sorted labels."""
    status, headers, body = gateway.get("/metrics")
    assert status == 200
    assert headers["content-type"].startswith("text/plain")
    found: dict[str, dict[tuple[tuple[str, str], ...], float]] = {}
    for family in parse_text(body.decode()):
        for sample in family.samples:
            labels = tuple(sorted(sample.labels.items()))
            assert labels not in found.setdefault(sample.name, {}), f"{sample.name} {labels} twice"
            found[sample.name][labels] = sample.value
    return found


def test_the_metrics_are_exactly_the_documented_families(
    gateway: Gateway,
) -> None:
    """Names, types, labels and help texts are those of FAMILIES."""
    seen = {}
    for family in parse_text(gateway.get("/metrics")[2].decode()):
        name = family.name + ("_total" if family.type == "counter" else "")
        labels = {
            frozenset("tag_NAME" if label.startswith("tag_") else label for label in sample.labels)
            - {"le"}
            for sample in family.samples
        }
        assert len(labels) == 1, name
        seen[name] = (family.type, labels.pop(), family.documentation)
    assert seen == {n: (f.kind, frozenset(f.labels), f.about) for n, f in FAMILIES.items()}


def test_figures_are_those_of_the_report_in_base_units(gateway: Gateway) -> None:
    """Seconds and bytes, whatever the report's units."""
    found = scrape(gateway)
    r1 = (("robot", "r1"),)
    assert found["holdfast_robot_ticks_total"][r1] == 300
    assert found["holdfast_robot_plan_seconds"][r1] == 0.8
    assert found["holdfast_robot_dropped_total"][(("reason", "expired"), *r1)] == 2
    missed = found["holdfast_robot_missed_ticks_total"]
    by_cause = {dict(labels)["cause"]: value for labels, value in missed.items()}
    assert by_cause == {"control": 0, "machine": 2, "restart": 1}
    latency = found["holdfast_robot_request_latency_seconds"]
    assert latency[(("quantile", "0.99"), *r1)] == pytest.approx(0.09)
    pick = (("actor", "pick/0"), ("service", "pick"))
    inference = found["holdfast_replica_inference_seconds"]
    assert inference[(pick[0], ("quantile", "0.5"), pick[1])] == pytest.approx(0.04)
    broker = (("actor", "broker"), ("kind", "broker"))
    assert found["holdfast_actor_memory_bytes"][broker] == 40e6
    worst = found["holdfast_witness_oversleep_seconds"][(("quantile", "1"),)]
    assert worst == pytest.approx(0.004)


def test_lateness_is_a_cumulative_histogram_of_every_tick(
    gateway: Gateway, supervisor: ScriptedSupervisor
) -> None:
    """The buckets are monotonic, and the last counts all ticks."""
    from holdfast.actors.control.histogram import Histogram

    histogram = Histogram()
    for late_ns in (3_000, 20_000, 20_000, 900_000, 40_000_000_000):
        histogram.record(late_ns)
    supervisor.reports["r1/control"]["tick_lateness_buckets_us"] = histogram.buckets_us()
    name = "holdfast_robot_tick_lateness_seconds_bucket"
    labels = (("le", "+Inf"), ("robot", "r1"))
    wait_until(lambda: scrape(gateway)[name].get(labels) == 5, "all five ticks")
    below = {float(dict(k)["le"]): v for k, v in scrape(gateway)[name].items()}
    assert below[0.000016] == 1
    assert below[0.000032] == 3
    assert below[0.001024] == 4
    assert below[1.048576] == 4
    assert [below[le] for le in sorted(below)] == sorted(below.values())


def test_exactly_one_state_of_each_actor_and_robot_is_1(
    gateway: Gateway, supervisor: ScriptedSupervisor
) -> None:
    """Every possible state has a series."""
    supervisor.put("broker", ActorState.BACKOFF)
    up = (("actor", "broker"), ("kind", "broker"))
    wait_until(lambda: scrape(gateway)["holdfast_actor_up"][up] == 0, "the broker is down")
    found = scrape(gateway)
    for name, key, states in (
        ("holdfast_actor_state", "actor", ACTOR_STATES),
        ("holdfast_robot_state", "robot", ROBOT_STATES),
    ):
        by_owner: dict[str, dict[str, float]] = {}
        for labels, value in found[name].items():
            by_owner.setdefault(dict(labels)[key], {})[dict(labels)["state"]] = value
        for owner, values in by_owner.items():
            assert set(values) == set(states), owner
            assert sorted(values.values())[-2:] == [0, 1], owner
    assert found["holdfast_actor_state"][(("actor", "broker"), ("state", "BACKOFF"))] == 1
    assert found["holdfast_fleet_healthy"][()] == 0


@pytest.mark.usefixtures("supervisor")
def test_a_robot_has_one_series_with_its_tags(make_gateway: Callable[..., Gateway]) -> None:
    """Their names are made labels; texts stay; one without tags is there too."""
    text = 'line "two"\n\\ö'
    gateway = make_gateway(tags={"r1": {"site-nr": text, "9": ""}, "r2": {}})
    wait_until(lambda: "holdfast_robot_info" in scrape(gateway), "the first report")
    found = scrape(gateway)
    r1 = (("robot", "r1"), ("tag_9", ""), ("tag_site_nr", text))
    assert found["holdfast_robot_info"] == {r1: 1, (("robot", "r2"),): 1}


def test_no_label_is_a_pid(gateway: Gateway, supervisor: ScriptedSupervisor) -> None:
    """A label that changes with each restart would make a new series of each."""
    body = gateway.get("/metrics")[2].decode()
    assert "pid" not in body
    assert not any(f'"{pid}"' in body for pid in supervisor.pids.values())


def test_no_old_figure_is_exported_without_a_supervisor(
    gateway: Gateway, supervisor: ScriptedSupervisor
) -> None:
    """Only the supervisor's absence and the open pages are exported."""
    assert scrape(gateway)["holdfast_supervisor_up"][()] == 1
    supervisor.silent = True
    wait_until(lambda: scrape(gateway)["holdfast_supervisor_up"][()] == 0, "it is missed")
    assert set(scrape(gateway)) == {"holdfast_supervisor_up", "holdfast_gateway_pages"}


def test_an_actor_without_a_report_has_no_metrics_of_its_own(
    gateway: Gateway, supervisor: ScriptedSupervisor
) -> None:
    """What the supervisor knows of it is exported."""
    supervisor.reported = False
    wait_until(
        lambda: "holdfast_replica_load_ratio" not in scrape(gateway), "the replica is silent"
    )
    found = scrape(gateway)
    assert "holdfast_broker_sessions" not in found
    assert found["holdfast_robot_ticks_total"][(("robot", "r1"),)] == 0
    assert len(found["holdfast_actor_up"]) == 8


def test_the_format_is_openmetrics_where_the_client_accepts_it(gateway: Gateway) -> None:
    """Otherwise it is Prometheus's text format."""
    accept = "application/openmetrics-text; version=1.0.0"
    _, headers, body = gateway.request("GET", "/metrics", {"accept": accept})
    assert headers["content-type"].startswith("application/openmetrics-text")
    families = parse_openmetrics(body.decode())  # type: ignore[no-untyped-call] # of the library
    names = {family.name for family in families}
    assert "holdfast_robot_ticks" in names


def test_the_document_lists_exactly_the_families() -> None:
    """metrics.md and FAMILIES agree in names, types, labels and texts."""
    text = (ROOT / "actors/gateway/metrics.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \| (.*?) \| (.*?) \|$", text, re.MULTILINE)
    assert {
        name: (kind, tuple(labels.split(", ")) if labels != "none" else (), about)
        for name, kind, labels, about in rows
    } == {name: tuple(family) for name, family in FAMILIES.items()}


def test_the_example_dashboard_names_only_metrics_and_labels_that_exist() -> None:
    """Every expression of deploy/grafana.json is checked."""
    board = json.loads((ROOT / "deploy/grafana.json").read_text())
    series = {
        f"{name}_bucket" if family.kind == "histogram" else name: family
        for name, family in FAMILIES.items()
    }
    asked = [target["expr"] for panel in board["panels"] for target in panel.get("targets", ())] + [
        variable["query"] for variable in board["templating"]["list"] if variable["type"] == "query"
    ]
    assert len(asked) > 10
    for expression in asked:
        names = re.findall(r"holdfast_\w+", expression)
        assert names, expression
        for name in names:
            assert name in series, f"{name} in {expression!r}"
        allowed = {"le", *(label for name in names for label in series[name].labels)}
        used = set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)\s*\"", expression))
        for group in re.findall(r"by \(([^)]*)\)", expression):
            used |= {label.strip() for label in group.split(",")}
        assert used <= allowed, f"{used - allowed} in {expression!r}"
