"""One service on several devices and hosts: names, checks, keys and memory of its replicas."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from holdfast.actors.fleet import segment_uses, specs, surroundings
from holdfast.actors.fleet.checks import actor_names
from holdfast.actors.fleet.loading import loads
from holdfast.actors.fleet.places import places, replica_names
from holdfast.actors.fleet.schema import FleetFile
from holdfast.actors.fleet.service_entry import PlacementEntry, ServiceEntry
from holdfast.actors.runtime.ring_times import COPY_AFTER_NS
from holdfast.policy.base import PolicySpec
from holdfast.tests.actors.fleet.files import actors, faults
from holdfast.transport.frame_ring import FrameRing

HOSTS = {name: {"address": f"10.0.0.{k}"} for k, name in enumerate(("cell", "gpu1", "gpu2"), 1)}
TORCH = {"version": "2.9", "built": "12.8", "cuda": 1, "mps": False}


@pytest.fixture
def placed(good: dict[str, Any]) -> dict[str, Any]:
    """A fleet whose service is on two hosts; r1 is on one of them."""
    good["hosts"] = HOSTS
    good["security"] = {"insecure": True}
    good["broker"] = {"host": "cell"}
    service = good["services"]["pick"]
    del service["replicas"]
    service["placements"] = [
        {"host": "gpu1", "device": "cuda:0"},
        {"host": "gpu2", "device": "cuda:1", "replicas": 2, "python": sys.executable},
    ]
    good["robots"][0]["host"] = "gpu1"
    good["robots"][1]["host"] = "cell"
    return good


def test_replicas_are_numbered_over_the_placements_in_the_order_of_the_file(
    placed: dict[str, Any],
) -> None:
    """Each host runs its own, on the device and in the interpreter that the file names there."""
    by_host = {host: {a.name: a for a in actors(placed, host)} for host in HOSTS}
    replicas = {
        host: [name for name, actor in made.items() if actor.kind == "inference"]
        for host, made in by_host.items()
    }
    assert replicas == {"cell": [], "gpu1": ["pick/0"], "gpu2": ["pick/1", "pick/2"]}
    second = by_host["gpu2"]["pick/2"]
    assert (second.config["device"], second.config["host"]) == ("cuda:1", "gpu2")
    assert (second.config["replica"], second.python) == (2, sys.executable)
    assert by_host["gpu1"]["pick/0"].config["device"] == "cuda:0"
    assert by_host["gpu1"]["pick/0"].python is None
    fleet = loads(yaml.safe_dump(placed))
    assert [name for name in actor_names(fleet) if name.startswith("pick/")] == [
        "pick/0",
        "pick/1",
        "pick/2",
    ]


@given(
    counts=st.lists(st.integers(1, 4), min_size=1, max_size=6),
    hosts=st.lists(st.sampled_from("abc"), min_size=6, max_size=6),
)
def test_the_hosts_replicas_together_are_all_of_the_service(
    counts: list[int], hosts: list[str]
) -> None:
    """Each number once, whatever host each placement is on."""
    placements = [
        PlacementEntry(host=host, replicas=count)
        for count, host in zip(counts, hosts, strict=False)
    ]
    service = ServiceEntry(policy="flow", placements=placements)
    fleet = loads("name: any\n")
    fleet.services["pick"] = service
    found = [name for host in "abc" for name in replica_names(fleet, host)]
    assert sorted(found) == sorted(f"pick/{k}" for k in range(sum(counts)))
    assert list(replica_names(fleet)) == [f"pick/{k}" for k in range(sum(counts))]
    assert [place.host for place in places(service)] == hosts[: len(counts)]


def test_a_robot_near_a_replica_gives_it_its_images_by_memory_and_others_by_tcp(
    placed: dict[str, Any],
) -> None:
    """Only the replicas of the robot's own host map its outbox."""
    at_gpu1 = {actor.name: actor for actor in actors(placed, "gpu1")}
    at_gpu2 = {actor.name: actor for actor in actors(placed, "gpu2")}
    at_cell = {actor.name: actor for actor in actors(placed, "cell")}
    assert at_gpu1["pick/0"].config["outboxes"] == {"r1": "r1/outbox"}
    assert at_gpu1["r1/network"].config["outbox"] == "r1/outbox"
    assert at_gpu2["pick/1"].config["outboxes"] == {}
    assert at_cell["r2/network"].config["outbox"] is None


def test_replicas_read_the_rings_of_cameras_whose_images_travel_as_they_are_captured(
    placed: dict[str, Any],
) -> None:
    """Of robots of their own host, under the policy's names; they write to none of them."""
    for robot in placed["robots"]:
        robot["images"] = {"resize": "server"}
    robot = placed["robots"][0]
    robot["cameras"]["top"] = {**robot["cameras"].pop("overhead"), "options": {"view": "overhead"}}
    robot["rename"] = {"top": "overhead"}
    at_gpu1 = {actor.name: actor for actor in actors(placed, "gpu1")}
    assert at_gpu1["pick/0"].config["rings"] == {"r1": {"overhead": "r1/top", "wrist": "r1/wrist"}}
    uses = {use.name: use.writable for use in at_gpu1["pick/0"].segments}
    assert not any(uses[name] for name in ("r1/outbox", "r1/top", "r1/wrist"))
    assert "rings" in at_gpu1["pick/0"].reconfigurable
    at_gpu2 = {actor.name: actor for actor in actors(placed, "gpu2")}
    assert at_gpu2["pick/1"].config["rings"] == {}
    robot["images"] = {"resize": "edge"}
    again = {actor.name: actor for actor in actors(placed, "gpu1")}
    assert again["pick/0"].config["rings"] == {}, "these frames are of another size"
    for camera in robot["cameras"].values():
        camera.update(width=96, height=72)
    again = {actor.name: actor for actor in actors(placed, "gpu1")}
    assert set(again["pick/0"].config["rings"]["r1"]) == {"overhead", "wrist"}


def test_the_replicas_of_another_service_read_no_rings_of_a_robot(good: dict[str, Any]) -> None:
    """One that uses it sends by the outbox: each ring is a descriptor more in every replica."""
    good["services"]["other"] = dict(good["services"]["pick"])
    for robot in good["robots"]:
        robot["images"] = {"resize": "server"}
    made = {actor.name: actor for actor in actors(good)}
    assert set(made["pick/0"].config["rings"]) == {"r1", "r2"}
    assert set(made["other/0"].config["outboxes"]) == {"r1", "r2"}
    assert made["other/0"].config["rings"] == {}
    assert "r1/wrist" not in {use.name for use in made["other/0"].segments}


@pytest.mark.parametrize(
    ("fps", "resize", "slots"),
    [(10, "server", 4), (30, "server", 4), (60, "server", 5), (120, "server", 8), (120, "edge", 4)],
)
def test_a_ring_that_is_read_holds_its_frames_for_twice_as_long_as_they_are_left_there(
    good: dict[str, Any], fps: int, resize: str, slots: int
) -> None:
    """From the next frame on, with cameras a tenth faster than configured."""
    good["robots"][0]["cameras"]["wrist"]["fps"] = fps
    good["robots"][0]["images"] = {"resize": resize}
    made = {actor.name: actor for actor in actors(good)}
    uses = [use for actor in made.values() for use in actor.segments if use.name == "r1/wrist"]
    assert {use.size for use in uses} == {FrameRing.size_for((480, 640, 3), slots)}
    assert resize == "edge" or (slots - 2) / (1.1 * fps) >= 2 * COPY_AFTER_NS / 1e9


@pytest.mark.parametrize(("larger", "mapped"), [(0, True), (1, False)])
def test_the_replicas_of_another_service_map_an_outbox_that_takes_their_images(
    good: dict[str, Any], monkeypatch: pytest.MonkeyPatch, larger: int, mapped: bool
) -> None:
    """A robot may use that service; larger images than its own service's travel as JPEG."""
    good["services"]["other"] = dict(good["services"]["pick"])

    def spec(fleet: FleetFile, service: ServiceEntry) -> PolicySpec:
        found = specs.policy_spec(fleet, service)
        if service is not fleet.services["other"]:
            return found
        cameras = [replace(camera, width=camera.width + larger) for camera in found.cameras]
        return replace(found, cameras=tuple(cameras))

    monkeypatch.setattr(segment_uses, "policy_spec", spec)
    made = {actor.name: actor for actor in actors(good)}
    assert ("r1" in made["other/0"].config["outboxes"]) is mapped
    assert ("r1/outbox" in {use.name for use in made["other/0"].segments}) is mapped
    assert made["pick/0"].config["outboxes"]["r1"] == "r1/outbox"


def test_what_placements_stand_in_place_of_is_refused_beside_them(placed: dict[str, Any]) -> None:
    """Also a value that is the default one: each is named with what to do."""
    placed["services"]["pick"] |= {"host": "gpu1", "device": "cpu", "replicas": 1}
    found = faults(placed)
    for key, value in (("host", "'gpu1'"), ("device", "'cpu'"), ("replicas", "1")):
        (fault,) = [each for each in found if f"$.services.pick.{key}" in each]
        assert f"{value} beside `placements`" in fault
        assert "remove it here, or remove `placements`" in fault


def test_a_placement_without_a_host_or_on_an_unknown_one_is_named_by_its_place(
    placed: dict[str, Any],
) -> None:
    """The paths are those of the placements."""
    placements = placed["services"]["pick"]["placements"]
    placements[0]["host"] = "gpu3"
    del placements[1]["host"]
    found = faults(placed)
    assert any("$.services.pick.placements[0].host" in each and "gpu3" in each for each in found)
    assert any("$.services.pick.placements[1].host" in e and "missing" in e for e in found)


def test_placements_of_one_machine_need_no_hosts(good: dict[str, Any]) -> None:
    """Several GPUs of one machine: all replicas are this one's."""
    service = good["services"]["pick"]
    del service["replicas"]
    service["placements"] = [{"device": "cuda:0"}, {"device": "cuda:1", "replicas": 2}]
    made = [actor for actor in actors(good) if actor.kind == "inference"]
    assert [(actor.name, actor.config["device"]) for actor in made] == [
        ("pick/0", "cuda:0"),
        ("pick/1", "cuda:1"),
        ("pick/2", "cuda:1"),
    ]


def test_each_host_checks_the_devices_of_its_own_placements(
    placed: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A machine with one GPU: right for gpu1, which names cuda:0, and wrong for gpu2."""
    asked: list[str] = []

    def answer(python: str) -> dict[str, Any]:
        asked.append(python)
        return TORCH

    monkeypatch.setattr(surroundings, "_torch", answer)
    monkeypatch.setattr(surroundings, "check_whole", lambda checkpoint: None)
    fleet = loads(yaml.safe_dump(placed))

    def found(host: str) -> list[str]:
        faults_there = surroundings.faults_here(fleet, host)
        return [str(f) for f in faults_there if ".device" in f.path]

    assert found("cell") == []
    assert not asked, "no GPU is looked for where none is used"
    assert found("gpu1") == []
    (fault,) = found("gpu2")
    assert "$.services.pick.placements[1].device" in fault
    assert "the only GPU here is cuda:0" in fault
    elsewhere = surroundings.checked_elsewhere(fleet, "gpu1")
    assert elsewhere == {"gpu2": ["cuda:1", sys.executable]}


def test_the_interpreter_of_a_placement_is_relative_to_the_file(
    placed: dict[str, Any], tmp_path: Path
) -> None:
    """As every path of the file; without one it is that of the service."""
    service = placed["services"]["pick"]
    service["placements"][1]["python"] = "venv/bin/python"
    service["python"] = "other/bin/python"
    fleet = loads(yaml.safe_dump(placed), base=tmp_path)
    found = places(fleet.services["pick"])
    assert found[0].python == str(tmp_path / "other/bin/python")
    assert found[1].python == str(tmp_path / "venv/bin/python")
    named = dict(surroundings.interpreters_named(fleet, "gpu2"))
    assert list(named) == ["$.services.pick.placements[1].python"]
