"""Warm standbys (spares) of real processes: handed out, replaced, limited."""

from __future__ import annotations

import os
import signal

import msgspec
from msgspec.structs import replace

from holdfast.actors.runtime.spec import ActorSpec
from holdfast.tests.misbehaving.harness import PATIENT, Supervised, actor, child, children, exists
from holdfast.tests.waiting import wait_until

FORGETFUL = replace(PATIENT, settle_s=0.2)


def test_a_warm_spare_takes_over_and_is_replaced() -> None:
    """The next incarnation is the spare's process, twice in a row."""
    with Supervised(actor("a", rules=FORGETFUL, warm="misbehaving")) as fleet:
        fleet.reach("a", "READY")
        spare = 0
        for incarnation in (2, 3):
            wait_until(lambda: _ready_spares(fleet))
            spare = child(fleet, b"--preload", spare)
            os.kill(fleet.row("a")["pid"], signal.SIGKILL)
            assert fleet.reach("a", "READY", incarnation)["pid"] == spare
        log = [r for r in fleet.log() if r["actor"] == "spare"]
        assert log == []


def test_an_actor_restarts_without_a_spare_that_died() -> None:
    """A killed spare leaves the restart of its actor intact."""
    with Supervised(actor("a", warm="misbehaving")) as fleet:
        fleet.reach("a", "READY")
        os.kill(wait_until(lambda: child(fleet, b"--preload")), signal.SIGKILL)
        wait_until(lambda: not child(fleet, b"--preload"))
        os.kill(fleet.row("a")["pid"], signal.SIGKILL)
        fleet.reach("a", "READY", 2)


def test_a_frozen_spare_is_not_used_and_is_replaced() -> None:
    """The actor starts cold after 0.1 s without an answer; the frozen process is replaced."""
    frozen = actor("a", warm="misbehaving", rules=FORGETFUL)
    with Supervised(frozen, spare_answers_within_s=0.1) as fleet:
        fleet.reach("a", "READY")
        spare = wait_until(lambda: child(fleet, b"--preload"))
        wait_until(lambda: _ready_spares(fleet))
        os.kill(spare, signal.SIGSTOP)
        os.kill(fleet.row("a")["pid"], signal.SIGKILL)
        row = fleet.reach("a", "READY", 2)
        assert row["pid"] != spare
        wait_until(lambda: not exists(spare))
        wait_until(lambda: child(fleet, b"--preload"))
        wait_until(lambda: any("pings unanswered" in r["message"] for r in fleet.log()))


def _ready_spares(fleet: Supervised) -> int:
    return int(fleet.status()["spares"]["ready"])


def test_a_fleet_has_a_spare_for_each_actor_up_to_its_limit() -> None:
    """Simultaneous deaths are served, and a reload adds and removes spares."""

    def fleet_of(*names: str) -> list[ActorSpec]:
        return [actor(name, rules=FORGETFUL, warm="misbehaving", spares=3) for name in names]

    with Supervised(*fleet_of("a", "b")) as fleet:
        for name in "ab":
            fleet.reach(name, "READY")
        wait_until(lambda: _ready_spares(fleet) == 2)
        spares = _spares(fleet)
        for name in "ab":
            os.kill(fleet.row(name)["pid"], signal.SIGKILL)
        assert {fleet.reach(name, "READY", 2)["pid"] for name in "ab"} == spares
        fleet.ask("reform", actors=msgspec.to_builtins(fleet_of("a", "b", "c", "d")))
        fleet.reach("d", "READY")
        wait_until(lambda: _ready_spares(fleet) == 3)
        fleet.ask("reform", actors=msgspec.to_builtins(fleet_of("a")))
        wait_until(lambda: len(_spares(fleet)) == 1)


def _spares(fleet: Supervised) -> set[int]:
    pids = {row["pid"] for row in fleet.status()["actors"]}
    return set(children(fleet, b"--preload")) - pids
