"""The emergency stop on the dashboard, in a headless Chromium."""

from __future__ import annotations

import time
from logging import getLogger
from pathlib import Path
from typing import Any

import pytest

from holdfast.actors.driver.stop_keeper import StopKeeper
from holdfast.actors.runtime import robots_file
from holdfast.actors.runtime.robots_file import KnownRobots
from holdfast.actors.supervision.emergency_stops import EmergencyStops
from holdfast.tests.actors.driver.fake_driver import FakeDriver
from holdfast.tests.actors.driver.kept_stops import site_stop, store_of
from holdfast.tests.actors.gateway.running_gateway import Gateway, list_robot
from holdfast.tests.actors.gateway.scripted_supervisor import (
    GUEST,
    GUEST_REPLICA,
    ScriptedSupervisor,
)
from holdfast.tests.actors.gateway.scripts_host import ScriptsHost
from holdfast.tests.browser import Browser

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]

SAYS = "return document.querySelector(arguments[0])?.textContent === arguments[1]"
SAID = "return document.getElementById('outcome').textContent.startsWith(arguments[0])"


@pytest.fixture
def state_dir(
    gateway: Gateway, supervisor: ScriptedSupervisor, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """Of a fleet without robots of its own."""
    monkeypatch.setenv("HOLDFAST_RUNTIME", str(gateway.rundir.parent))
    known = KnownRobots(fleet=gateway.rundir.name, state_dir=str(gateway.rundir / "state"))
    robots_file.write(known, gateway.rundir)
    supervisor.robots = []
    supervisor.stops_elsewhere = EmergencyStops(Path(known.state_dir)).elsewhere
    return Path(known.state_dir)


def test_one_click_stops_a_robot_and_two_release_it(
    browser: Browser, gateway: Gateway, supervisor: ScriptedSupervisor
) -> None:
    """The card and the timeline are red meanwhile; the first click on release only asks."""
    stop = {"confirmed": True, "by": "the dashboard", "why": "", "at_s": time.time()}
    button = 'article[data-robot="r1"] button.estop'

    def answer(asked: dict[str, object]) -> dict[str, object]:
        stopping = asked["do"] == "estop"
        supervisor.reports["r1/control"]["estop"] = stop if stopping else None
        return {"latched": stopping, "confirmed": stopping, "error": ""}

    with FakeDriver(gateway.rundir / "r1.driver", answer) as driver:
        list_robot(gateway.rundir)
        browser.open(gateway.url)
        browser.wait_for(
            "return document.querySelector(arguments[0])?.textContent === 'Stop'", button
        )
        browser.click(button)
        browser.wait_for(
            "return document.querySelector('article.stopped .state')?.dataset.tone === 'bad'"
        )
        assert browser.text("#outcome") == "emergency stop: r1 stopped, confirmed by the device"
        assert "stopped by the dashboard" in browser.text("article .reason")
        browser.wait_for(
            "return document.querySelector(arguments[0]).textContent === 'Release …'", button
        )
        browser.click(button)
        assert "it may move at once" in browser.text(button)
        assert [body["do"] for body in driver.asked] == ["estop"]
        browser.click(button)
        browser.wait_for(
            "return document.querySelector(arguments[0]).textContent === 'Stop'", button
        )
        browser.click("#estop")
        browser.wait_for("return document.querySelector('article.stopped') !== null")
        assert [body["do"] for body in driver.asked] == ["estop", "release", "estop"]


def test_a_robot_of_a_script_is_stopped_and_released_in_its_row(
    browser: Browser, gateway: Gateway, state_dir: Path
) -> None:
    """As by its name in a terminal; replicas and actors have no such button."""
    row = 'tr[data-guest="bench-arm"]'
    with ScriptsHost(state_dir, "bench-arm"):
        browser.open(gateway.url)
        browser.wait_for(SAYS, f"{row} button.estop", "Stop")
        assert browser.run("return document.querySelectorAll('tr button.estop').length") == 1
        browser.click(f"{row} button.estop")
        browser.wait_for(f"return document.querySelector('{row} .state').dataset.tone === 'bad'")
        browser.wait_for(SAID, "emergency stop: ")  # in which words, depends on the machine's speed
        assert "stopped by the dashboard" in browser.text(f"{row} .why")
        browser.wait_for(SAYS, f"{row} button.estop", "Release …")
        browser.click(f"{row} button.estop")
        assert "bench-arm: it may move at once" in browser.text(f"{row} button.estop")
        browser.click(f"{row} button.estop")
        browser.wait_for(SAYS, f"{row} button.estop", "Stop")
        browser.wait_for(SAID, "release: ")
        browser.click("#estop")
        browser.wait_for(f"return document.querySelector('{row} .state').dataset.tone === 'bad'")


def test_the_robot_of_a_port_s_client_has_no_button_and_is_not_shown_as_stopped(
    browser: Browser, gateway: Gateway, supervisor: ScriptedSupervisor, state_dir: Path
) -> None:
    """No stop reaches it. A stop of its name is listed, where it is released."""
    vitals = {**GUEST["vitals"], "state": "REFUSED", "reason": "no chunks for openpi/1"}
    client = {**GUEST, "robot": "openpi/1", "kind": "client", "vitals": vitals}
    supervisor.reports["broker"]["sessions"] = [client]
    row = 'tr[data-guest="openpi/1"]'
    browser.open(gateway.url)
    browser.wait_for(SAYS, f"{row} .state", "REFUSED")
    assert browser.text(f"{row} .why") == "no chunks for openpi/1"
    assert browser.run("return document.querySelectorAll('tr button.estop').length") == 0
    site_stop(state_dir, ["openpi/1"])
    button = f'{row}[data-kind="away"] button.estop'
    browser.wait_for(SAYS, button, "Release …")
    assert browser.text(f'{row}[data-kind="robot"] .state') == "REFUSED"
    browser.click(button)
    browser.click(button)
    browser.wait_for("return !document.querySelector('[data-kind=away]')")
    assert store_of(state_dir).stops.in_force() == []


def test_a_robot_that_has_ended_is_released_in_the_row_of_its_stop(
    browser: Browser, gateway: Gateway, supervisor: ScriptedSupervisor, state_dir: Path
) -> None:
    """Its name may be one that a path would not keep; other stops stay in force."""
    supervisor.reports["broker"]["sessions"] = []
    site_stop(state_dir, [".."])
    other = site_stop(state_dir, ["bench-arm"])
    button = 'tr[data-guest=".."] button.estop'
    browser.open(gateway.url)
    browser.wait_for(SAYS, button, "Release …")
    assert "stopped by anna@hub" in browser.text('tr[data-guest=".."] .why')
    browser.click(button)
    browser.click(button)
    browser.wait_for("return !document.querySelector(arguments[0])", button)
    assert store_of(state_dir).stops.in_force() == [other]


def test_a_robot_whose_name_a_path_would_not_keep_is_stopped_alone(
    browser: Browser, gateway: Gateway, supervisor: ScriptedSupervisor, state_dir: Path
) -> None:
    """The robot `..` of a script, and not the whole site."""
    supervisor.reports["broker"]["sessions"] = [{**GUEST, "robot": ".."}]
    browser.open(gateway.url)
    browser.wait_for(SAYS, 'tr[data-guest=".."] button.estop', "Stop")
    browser.click('tr[data-guest=".."] button.estop')
    browser.wait_for(SAYS, 'tr[data-guest=".."] .state', "STOPPED")
    (stop,) = store_of(state_dir).stops.in_force()
    assert stop.robots == ("..",)


def test_a_robot_and_a_replica_of_one_name_have_a_row_each(
    browser: Browser, gateway: Gateway, supervisor: ScriptedSupervisor, state_dir: Path
) -> None:
    """That of the robot goes on to say that it is stopped."""
    supervisor.reports["broker"]["replicas"] = [{**GUEST_REPLICA, "name": "bench-arm"}]
    site_stop(state_dir, ["bench-arm"])
    browser.open(gateway.url)
    rows = "return document.querySelectorAll('tr[data-guest=bench-arm]').length === 2"
    browser.wait_for(rows)
    assert browser.text("tr[data-guest=bench-arm][data-kind=robot] .state") == "STOPPED"
    assert browser.text("tr[data-guest=bench-arm][data-kind=robot] button") == "Release …"
    assert browser.text("tr[data-guest=bench-arm][data-kind=replica] .state") == "READY"


def test_the_site_is_stopped_on_the_page_also_while_no_robot_is_known(
    browser: Browser, gateway: Gateway, supervisor: ScriptedSupervisor, state_dir: Path
) -> None:
    """A broker that starts anew tells of none at first. A banner says so, and releases it."""
    supervisor.reports["broker"]["sessions"] = []
    browser.open(gateway.url)
    browser.wait_for("return !document.getElementById('no-robots').hidden")
    browser.click("#estop")
    browser.wait_for(SAID, "emergency stop: a stop of the whole site is in force")
    assert [stop.robots for stop in store_of(state_dir).stops.in_force()] == [()]
    browser.wait_for("return !document.getElementById('site-stop').hidden")
    said = browser.text("#site-stop span")
    assert "The whole site: stopped by the dashboard at " in said
    assert "each robot that comes" in said and "--release --all" in said
    assert "whole site" not in browser.text("#notes")
    browser.click("#site-stop button")
    label = "Release all robots of the site: they may move at once"
    assert browser.text("#site-stop button") == label
    browser.click("#site-stop button")
    browser.wait_for(SAID, "release: no stop is in force now")
    assert store_of(state_dir).stops.in_force() == []
    browser.wait_for("return document.getElementById('site-stop').hidden")


def test_a_release_that_needs_a_key_is_refused_on_the_page_with_the_command_for_it(
    browser: Browser, gateway: Gateway, supervisor: ScriptedSupervisor, tmp_path: Path
) -> None:
    """The page has no operator's key: the robot stays stopped, and the page says what to type."""
    button = 'article[data-robot="r1"] button.estop'
    keeper = StopKeeper("r1", list_robot(gateway.rundir), tmp_path / "keys", getLogger(__name__))

    def answer(asked: dict[str, Any]) -> dict[str, Any] | None:
        if asked["do"] == "release":
            return {"error": keeper.lift(asked.get("key")), "latched": keeper.stop is not None}
        keeper.asked(asked)
        keeper.confirm()
        supervisor.reports["r1/control"]["estop"] = keeper.report()
        return keeper.report()

    with FakeDriver(gateway.rundir / "r1.driver", answer) as driver:
        browser.open(gateway.url)
        browser.wait_for(
            "return document.querySelector(arguments[0])?.textContent === 'Stop'", button
        )
        browser.click(button)
        browser.wait_for(
            "return document.querySelector(arguments[0]).textContent === 'Release …'", button
        )
        browser.click(button)
        browser.click(button)
        browser.wait_for("return document.getElementById('outcome').textContent.includes('key')")
        assert "actorctl estop --release r1 --key operator.key" in browser.text("#outcome")
        assert browser.text(button) == "Release …" and keeper.stop is not None
        assert [body["do"] for body in driver.asked] == ["estop", "release"]
