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
from holdfast.tests.actors.driver.fake_driver import FakeDriver
from holdfast.tests.actors.gateway.running_gateway import Gateway, list_robot
from holdfast.tests.actors.gateway.scripted_supervisor import ScriptedSupervisor
from holdfast.tests.actors.gateway.scripts_host import ScriptsHost
from holdfast.tests.browser import Browser

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]


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
    browser: Browser,
    gateway: Gateway,
    supervisor: ScriptedSupervisor,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As by its name in a terminal; replicas and actors have no such button."""
    monkeypatch.setenv("HOLDFAST_RUNTIME", str(gateway.rundir.parent))
    known = KnownRobots(fleet=gateway.rundir.name, state_dir=str(gateway.rundir / "state"))
    robots_file.write(known, gateway.rundir)
    supervisor.robots = []
    row = 'tr[data-guest="bench-arm"]'
    says = "return document.querySelector(arguments[0])?.textContent === arguments[1]"
    with ScriptsHost(Path(known.state_dir), "bench-arm") as host:
        supervisor.stops_elsewhere = host.shown
        browser.open(gateway.url)
        browser.wait_for(says, f"{row} button.estop", "Stop")
        assert browser.run("return document.querySelectorAll('tr button.estop').length") == 1
        browser.click(f"{row} button.estop")
        browser.wait_for(f"return document.querySelector('{row} .state').dataset.tone === 'bad'")
        outcome = "emergency stop: bench-arm stopped, confirmed by the device"
        browser.wait_for(says, "#outcome", outcome)
        assert "stopped by the dashboard" in browser.text(f"{row} .why")
        browser.wait_for(says, f"{row} button.estop", "Release …")
        browser.click(f"{row} button.estop")
        assert "bench-arm: it may move at once" in browser.text(f"{row} button.estop")
        browser.click(f"{row} button.estop")
        browser.wait_for(says, "#outcome", "release: bench-arm released")
        browser.wait_for(says, f"{row} button.estop", "Stop")
        browser.click("#estop")
        browser.wait_for(f"return document.querySelector('{row} .state').dataset.tone === 'bad'")


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
