"""The dashboard on a running fleet, in a real browser, opened by the link that a user gets."""

from __future__ import annotations

import re
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from holdfast.actors.gateway.metric_names import FAMILIES
from holdfast.tests.browser import Browser
from holdfast.tests.e2e.conftest import FleetProcess, StartFleet, row
from holdfast.tests.e2e.scripts import LAB, PLAY, SERVE
from holdfast.tests.waiting import wait_until

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]

WATCH = """
  const row = document.querySelector(arguments[0]);
  window.tones = [row.dataset.tone];
  new MutationObserver(() => window.tones.push(row.dataset.tone))
    .observe(row, { attributes: true, attributeFilter: ["data-tone"] });
"""
FRAMES = "return [...document.querySelectorAll('figure img')].map((i) => Number(i.dataset.frame))"
ALL_STREAM = """
  const states = [...document.querySelectorAll("article .state")].map((s) => s.textContent);
  return states.length === 2 && states.every((s) => s === "STREAMING");
"""


def dashboard(fleet: FleetProcess) -> str:
    """The link in what `actorctl status` prints."""
    shown = fleet.actorctl("status").stdout
    found = re.search(r"http://127\.0\.0\.1:\d+/#\S+", shown)
    assert found, shown
    return found[0]


def test_the_page_shows_the_fleet_live_and_its_buttons_work(
    start_fleet: StartFleet, light: Path, browser: Browser
) -> None:
    """Values and pictures move, a killed replica turns red and back, its buttons work."""
    fleet = start_fleet(fleet=light)
    fleet.streaming()
    browser.open(dashboard(fleet))
    browser.wait_for(ALL_STREAM)
    browser.wait_for(f"{FRAMES}.length === 4 && {FRAMES[7:]}.every((n) => n > 0)")
    frames = browser.run(FRAMES)
    browser.wait_for(f"{FRAMES}.every((n, k) => n > arguments[0][k])", frames)
    merged = browser.run("return document.querySelector('article dl').textContent")
    browser.wait_for(
        "return document.querySelector('article dl').textContent !== arguments[0]", merged
    )
    assert browser.complaints() == []

    replica = 'tr[data-actor="pick/0"]'
    browser.run(WATCH, replica)

    def turned_red_and_back() -> bool:
        """Kill it, and wait until it is back; whether the page, which looks four times a second,
        has seen it between: on a busy machine a spare may be quicker."""
        before = row(fleet.status()["actors"], "pick/0")["restarts"]
        assert fleet.actorctl("kill", "pick/0").returncode == 0
        fleet.wait_for(lambda s: row(s["actors"], "pick/0")["restarts"] > before, 60)
        fleet.streaming()
        browser.wait_for("return window.tones.at(-1) === 'good'")
        return bool(browser.run("return window.tones.includes('bad')"))

    wait_until(turned_red_and_back, "the row is red while its replica is away", 300.0)
    browser.wait_for("return document.querySelector('#events').textContent.includes('SIGKILL')")
    fleet.streaming()

    button = 'article[data-robot="r1"] button'
    browser.wait_for(ALL_STREAM)
    browser.click(button)
    fleet.wait_for(lambda s: s["robots"][0]["state"] == "PAUSED", 60)
    assert fleet.status()["robots"][1]["state"] != "PAUSED"
    browser.wait_for("return document.querySelector(arguments[0]).textContent === 'Resume'", button)
    browser.click(button)
    fleet.streaming()
    browser.wait_for(ALL_STREAM)

    browser.click(f"{button}:nth-of-type(3)")
    browser.write("rest")
    browser.press("\ue007")
    browser.wait_for("return document.getElementById('outcome').textContent === 'task of r1: done'")

    fleet.interrupt()
    assert fleet.wait(60) == 0, fleet.said()
    browser.wait_for("return document.getElementById('link').textContent.includes('gone')")


def test_an_open_page_reconnects_when_the_gateway_was_killed(
    start_fleet: StartFleet, light: Path, browser: Browser
) -> None:
    """Its address and token stay valid, its buttons work, and no session is lost."""
    fleet = start_fleet(fleet=light)
    before = fleet.streaming()
    url = dashboard(fleet)
    browser.open(url)
    browser.wait_for(ALL_STREAM)
    browser.run(
        "new MutationObserver(() => { window.gone = true; })"
        ".observe(document.getElementById('link'), { childList: true })"
    )
    assert fleet.actorctl("kill", "gateway").returncode == 0
    browser.wait_for("return window.gone && document.getElementById('link').textContent === 'live'")
    assert dashboard(fleet) == url
    browser.click('article[data-robot="r2"] button')
    fleet.wait_for(lambda s: s["robots"][1]["state"] == "PAUSED", 60)
    after = fleet.wait_for(lambda s: row(s["actors"], "gateway")["restarts"], 60)
    # Missed ticks are test_main_job's: here a browser competes for the processors.
    for one, was in zip(after["robots"], before["robots"], strict=True):
        assert one["epoch"] == was["epoch"], "no session was lost"
        assert one["ticks"] > was["ticks"]


def test_the_robot_of_a_script_is_stopped_and_released_on_the_page(
    start_fleet: StartFleet, scripts: Callable[[str], None], browser: Browser, tmp_path: Path
) -> None:
    """In its row, of a fleet that has no robots; its script confirms that it holds still."""
    file = tmp_path / "fleet.yaml"
    file.write_text(LAB)
    fleet = start_fleet(fleet=file)
    fleet.streaming()
    scripts(SERVE)
    fleet.wait_for(lambda s: s["site"]["replicas"], 60)
    scripts(PLAY.format(service="nod", robot="bench"))
    state = "return document.querySelector('tr[data-guest=bench] .state')?.textContent"
    button = "tr[data-guest=bench] button.estop"
    browser.open(dashboard(fleet))
    browser.wait_for(f"{state} === 'STREAMING'")
    browser.click(button)
    browser.wait_for(f"{state} === 'STOPPED'")
    why = "return document.querySelector('tr[data-guest=bench] .why').textContent"
    browser.wait_for(f"{why}.includes('the device holds')")
    browser.wait_for("return document.querySelector(arguments[0]).textContent !== 'Stop'", button)
    browser.click(button)
    browser.click(button)
    browser.wait_for(f"{state} === 'STREAMING'")
    assert browser.complaints() == []


def test_the_documented_metrics_are_those_of_a_running_fleet(
    start_fleet: StartFleet, light: Path
) -> None:
    """Every family of FAMILIES is exported, except counts of events that need not have happened."""
    fleet = start_fleet(fleet=light)
    fleet.streaming()
    fleet.wait_for(lambda s: all(r["merged"] > 3 for r in s["robots"]), 60)
    base = dashboard(fleet).partition("#")[0]
    may_be_absent = {"holdfast_robot_dropped_total", "holdfast_robot_refused_commands_total"}
    # Of hosts and scripts, of recorded robots, and of an objective, which this fleet has none of.
    may_be_absent.add("holdfast_service_slo_seconds")
    others = ("holdfast_site_", "holdfast_recorder_")
    may_be_absent |= {name for name in FAMILIES if name.startswith(others)}

    def exported() -> dict[str, Metric]:
        """The families by name, which are of a status that the gateway asks for now and then."""
        with urllib.request.urlopen(f"{base}metrics", timeout=60) as answer:
            families = list(text_string_to_metric_families(answer.read().decode()))
        return {f.name + ("_total" if f.type == "counter" else ""): f for f in families}

    def complete() -> bool:
        return exported().keys() | may_be_absent == set(FAMILIES)

    wait_until(complete, "every family is exported, and no other", every_s=0.5)
    found = exported()
    robots = {s.labels["robot"] for s in found["holdfast_robot_ticks_total"].samples}
    assert robots == {"r1", "r2"}
    wait_until(lambda: _most_ticks(exported()) > 30, "ticks are counted", every_s=0.5)


def _most_ticks(families: dict[str, Metric]) -> float:
    """The largest count of the ticks' lateness."""
    lateness = families["holdfast_robot_tick_lateness_seconds"].samples
    return max(float(sample.value) for sample in lateness)
