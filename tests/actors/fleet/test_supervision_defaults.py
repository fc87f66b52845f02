"""The rules, limits and standbys of each kind of actor, and what the file changes."""

from __future__ import annotations

from typing import Any

import pytest

from holdfast.actors.control.config import SafetySettings
from holdfast.actors.runtime.kinds import modules_of
from holdfast.actors.runtime.spec import Rules
from holdfast.tests.actors.fleet.files import actors


def test_rules_of_a_kind_override_those_of_all_and_the_defaults(good: dict[str, Any]) -> None:
    """The more specific rule wins, field by field; memory limits are by kind."""
    good["supervision"] = {
        "rules": {"all": {"backoff_s": 3.0}, "sensor": {"hang_timeout_s": 9.0}},
        "memory_mb": {"inference": 4000},
    }
    made = {actor.name: actor for actor in actors(good)}
    wrist = Rules(backoff_s=3.0, hang_timeout_s=9.0, start_timeout_s=30.0)
    assert made["r1/wrist"].member.rules == wrist
    assert made["pick/0"].memory_mb == 4000
    assert made["r1/control"].memory_mb is None


def test_a_replica_that_hung_has_the_setting_to_raise_in_its_hint(good: dict[str, Any]) -> None:
    """Other kinds have no hint."""
    hints = {actor.name: actor.member.hang_hint for actor in actors(good)}
    assert "supervision.rules.inference.hang_timeout_s" in hints["pick/0"]
    assert hints["broker"] == ""


def test_an_actor_that_untrusted_peers_reach_has_a_memory_limit_by_default(
    good: dict[str, Any],
) -> None:
    """`memory_mb` of the file replaces the default, and limits every kind if it says `all`."""
    made = {actor.name: actor.memory_mb for actor in actors(good)}
    assert made["broker"] and made["r1/network"]
    assert made["r1/control"] is None
    good["supervision"] = {"memory_mb": {"all": 2000, "broker": 300}}
    made = {actor.name: actor.memory_mb for actor in actors(good)}
    assert (made["broker"], made["r1/network"], made["r1/control"]) == (300, 2000, 2000)


def test_what_a_warm_spare_imports_is_what_the_kinds_need(good: dict[str, Any]) -> None:
    """Control keeps a spare of its own: nothing of the others' imports gets into its process."""
    warm = {actor.kind: actor.warm for actor in actors(good)}
    assert warm["control"] == modules_of("control") == "holdfast.actors.control.loop"
    assert warm["network"] == warm["sensor"] == warm["broker"] == warm["driver"]
    assert "holdfast.actors.network.network" in str(warm["network"])
    assert "holdfast.policy.flow" in str(warm["inference"])
    assert modules_of("inference", "constant") is None, "without torch it starts soon enough"


def test_control_has_a_spare_per_robot_up_to_what_the_file_allows(good: dict[str, Any]) -> None:
    """Other kinds have one spare, and none if the file says zero."""
    for given, control, others in ((None, 4, 1), (2, 2, 1), (0, 0, 0)):
        if given is not None:
            good["supervision"] = {"spares": given}
        found = {actor.kind: actor.spares for actor in actors(good)}
        assert (found["control"], found["network"], found["driver"]) == (control, others, others)


def test_a_replica_has_one_spare_unless_the_file_saves_its_memory(good: dict[str, Any]) -> None:
    """`policy_spare: false` means no spare."""
    for given, expected in ((True, 1), (False, 0)):
        good["supervision"] = {"policy_spare": given}
        assert {a.spares for a in actors(good) if a.kind == "inference"} == {expected}


def test_no_start_takes_so_long_that_its_robot_is_given_up(good: dict[str, Any]) -> None:
    """Two attempts to start what a robot waits for end within the time that it may be offline."""
    offline_s = SafetySettings().max_offline_s
    assert isinstance(offline_s, float)
    for actor in actors(good):
        if actor.kind in ("control", "network", "broker", "driver"):
            assert 2 * actor.member.rules.start_timeout_s < offline_s


@pytest.mark.parametrize("given", [{}, {"all": 2000}, {"broker": 300}])
def test_the_broker_knows_the_limit_at_which_it_is_restarted(
    good: dict[str, Any], given: dict[str, int]
) -> None:
    """Its own bound on what peers make it hold is derived from it."""
    good["supervision"] = {"memory_mb": given}
    broker = next(actor for actor in actors(good) if actor.name == "broker")
    assert broker.config["memory_mb"] == broker.memory_mb
