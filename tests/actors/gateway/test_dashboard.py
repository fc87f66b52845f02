"""The dashboard in a headless Chromium, against a scripted supervisor."""

from __future__ import annotations

import time

import numpy as np
import pytest

from holdfast.actors.supervision.supervised import ActorState
from holdfast.tests.actors.gateway.running_gateway import Gateway
from holdfast.tests.actors.gateway.scripted_supervisor import ScriptedSupervisor
from holdfast.tests.browser import Browser
from holdfast.tests.waiting import wait_until
from holdfast.transport.frame_ring import FrameRing

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]

SHAPE = (48, 64, 3)
TONE = "return document.querySelector(arguments[0])?.dataset.tone"
INK = """
  const canvas = document.querySelector("article canvas");
  const pixels = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
  return pixels.filter((value, k) => k % 4 === 3 && value > 0).length;
"""


def test_the_page_shows_the_fleet_and_its_values_move(
    browser: Browser, gateway: Gateway, supervisor: ScriptedSupervisor
) -> None:
    """Rows, states, figures and the timeline follow the reports."""
    for memory in gateway.rings.values():
        FrameRing(memory, SHAPE).put(np.zeros(SHAPE, np.uint8), time.monotonic_ns())
    browser.open(gateway.url)
    browser.wait_for("return document.querySelectorAll('#actors tr').length === arguments[0]", 8)
    browser.wait_for(f"{TONE} === 'good'", "#health")
    assert browser.text("#fleet") == "cell"
    assert browser.text("article .state") == "STREAMING"
    assert "red parcel" in browser.text("article .task")
    assert "0.80 s" in browser.text("article dl")
    ink = browser.wait_for(INK)
    for plan_s in (0.4, 1.9):
        supervisor.reports["r1/control"]["plan_s"] = plan_s
        browser.wait_for(
            "return document.querySelector('article dl').textContent.includes(arguments[0])",
            f"{plan_s:.2f} s",
        )
    browser.wait_for(INK.replace("length;", "length > arguments[0];"), ink)
    assert browser.complaints() == []


def test_a_killed_actor_is_red_until_it_is_back_and_the_events_have_the_reason(
    browser: Browser, gateway: Gateway, supervisor: ScriptedSupervisor
) -> None:
    """The row and the headline change their tone with the state."""
    row = 'tr[data-actor="r1/network"]'
    browser.open(gateway.url)
    browser.wait_for(f"{TONE} === 'good'", row)
    supervisor.last_exit["r1/network"] = "killed by SIGKILL"
    supervisor.put("r1/network", ActorState.BACKOFF, reason="killed by SIGKILL")
    browser.wait_for(f"{TONE} === 'bad'", row)
    browser.wait_for(f"{TONE} === 'bad'", "#health")
    colour = "return getComputedStyle(document.querySelector(arguments[0])).backgroundColor"
    red = browser.run(colour, row)
    supervisor.put("r1/network", ActorState.STARTING, incarnation=2, reason="killed by SIGKILL")
    browser.wait_for(
        "return document.querySelector(arguments[0]).innerText.includes('STARTING')", row
    )
    assert browser.run(TONE, row) == "bad", "until it is back"
    supervisor.put("r1/network", ActorState.READY, incarnation=2)
    browser.wait_for(f"{TONE} === 'good'", row)
    assert browser.run(colour, row) != red
    events = browser.text("#events")
    assert "READY → BACKOFF: killed by SIGKILL" in events
    assert "incarnation 1 ended (killed by SIGKILL); 2 is STARTING" in events
    assert "STARTING → READY" in events


def test_a_button_commands_with_the_token_of_the_link(
    browser: Browser, gateway: Gateway, supervisor: ScriptedSupervisor
) -> None:
    """The token leaves the address bar; the page shows the outcome."""
    browser.open(gateway.url)
    browser.wait_for("return document.querySelector('article button')")
    assert "#" not in browser.run("return location.href"), "the token is out of sight"
    browser.click("article button")
    browser.wait_for("return document.getElementById('outcome').textContent")
    assert browser.text("#outcome") == "pause r1: done"
    supervisor.reports["r1/control"].update(state="PAUSED", paused=True)
    browser.wait_for("return document.querySelector('article button').textContent === 'Resume'")
    browser.click("article button")
    browser.click('tr[data-actor="broker"] button')
    browser.wait_for("return document.getElementById('outcome').textContent.includes('broker')")
    assert [(a["do"], a["names"]) for a in supervisor.asked] == [
        ("pause", ["r1"]),
        ("resume", ["r1"]),
        ("restart", ["broker"]),
    ]


def test_the_buttons_of_a_recording_are_those_of_a_robot_that_is_recorded(
    browser: Browser, gateway: Gateway, supervisor: ScriptedSupervisor
) -> None:
    """It has no teleoperator, so that no person takes over."""
    browser.open(gateway.url)
    browser.wait_for("return document.querySelector('article .episodes button:nth-of-type(3)')")
    hidden = "return document.querySelector('article .episodes button:nth-of-type(1)').hidden"
    browser.wait_for(hidden)
    browser.click("article .episodes button:nth-of-type(3)")
    browser.wait_for("return document.getElementById('outcome').textContent")
    assert browser.text("#outcome") == "episode-success r1: done"
    assert [(a["do"], a["args"]) for a in supervisor.asked] == [("episode_stop", {"success": True})]


def test_another_task_is_given_on_the_page(
    browser: Browser, gateway: Gateway, supervisor: ScriptedSupervisor
) -> None:
    """The field has the present task, stays while the task is not the robot's, and then closes."""
    opened = "return !document.querySelector('article form').hidden"
    browser.open(gateway.url)
    browser.wait_for("return document.querySelector('article p.task')?.textContent")
    assert not browser.run(opened)
    browser.click("article button:nth-of-type(3)")
    assert browser.run(opened)
    assert browser.run("return document.activeElement.value") == browser.text("article p.task")
    browser.write("bow to the left")
    supervisor.reports["r1/control"]["task"] = "put it anywhere"
    browser.wait_for("return document.querySelector('article p.task').textContent.includes('any')")
    assert browser.run("return document.activeElement.value") == "bow to the left"
    browser.press("\ue007")
    browser.wait_for("return document.getElementById('outcome').textContent")
    assert browser.text("#outcome") == "task of r1: done"
    assert supervisor.asked == [
        {"do": "task", "names": ["r1"], "args": {"task": "bow to the left"}}
    ]
    assert browser.run(opened), "no report has it yet"
    supervisor.reports["r1/control"]["task"] = "bow to the left"
    browser.wait_for("return document.querySelector('article form').hidden")
    assert browser.text("article p.task") == "bow to the left"


def test_the_keyboard_alone_reaches_and_presses_a_button(
    browser: Browser, gateway: Gateway, supervisor: ScriptedSupervisor
) -> None:
    """Tab focuses it and Enter presses it."""
    browser.open(gateway.url)
    browser.wait_for("return document.querySelector('article button')")
    for _ in range(12):
        browser.press("\ue004")
        if browser.run("return document.activeElement.textContent") == "Reset":
            break
    browser.press("\ue007")
    wait_until(lambda: supervisor.asked, "the button's command")
    assert supervisor.asked == [{"do": "reset", "names": ["r1"]}]


def test_the_page_without_a_valid_token_shows_only_how_to_get_one(
    browser: Browser, gateway: Gateway
) -> None:
    """An old token counts as none; a new one in the address opens the page."""
    browser.open(gateway.url.partition("#")[0])
    browser.wait_for("return !document.getElementById('locked').hidden")
    assert "actorctl status" in browser.text("#locked")
    assert browser.run("return document.getElementById('site').hidden")
    browser.open(gateway.url.partition("#")[0] + "#a-token-of-an-earlier-fleet")
    browser.wait_for("return document.getElementById('locked').textContent.includes('anew')")
    browser.run("location.hash = arguments[0]", gateway.token)
    browser.wait_for("return document.querySelector('article button')")
    assert browser.run("return document.getElementById('locked').hidden")


def test_thumbnails_follow_the_frames_in_shared_memory(browser: Browser, gateway: Gateway) -> None:
    """The caption has the age of the frame."""
    ring = FrameRing(gateway.rings["r1/overhead"], SHAPE)
    frame = "return document.querySelector('figure img')?.dataset.frame"
    for number, value in ((1, 40), (2, 220)):
        ring.put(np.full(SHAPE, value, np.uint8), time.monotonic_ns())
        if number == 1:
            browser.open(gateway.url)
        browser.wait_for(f"{frame} === arguments[0]", str(number))
        browser.wait_for("return document.querySelector('figure img').naturalWidth === 64")
    assert "ms old" in browser.text("figure figcaption") or "s old" in browser.text("figcaption")


def test_the_page_shows_that_its_report_is_old_and_recovers(
    browser: Browser, gateway: Gateway, supervisor: ScriptedSupervisor
) -> None:
    """While the supervisor does not answer the headline has no tone."""
    browser.open(gateway.url)
    browser.wait_for(f"{TONE} === 'good'", "#health")
    supervisor.silent = True
    browser.wait_for("return !document.getElementById('trouble').hidden")
    assert "did not answer" in browser.text("#trouble")
    assert browser.run(TONE, "#health") == "none"
    supervisor.silent = False
    browser.wait_for("return document.getElementById('trouble').hidden")
    browser.wait_for(f"{TONE} === 'good'", "#health")


def test_the_page_lists_refusals_warnings_and_waits(
    browser: Browser, gateway: Gateway, supervisor: ScriptedSupervisor
) -> None:
    """What is wrong first; drops and refusals by reason; hovering explains the terms."""
    supervisor.reports["r1/control"].update(
        warnings=["fps 60 on a policy of 30"],
        refusing_s=4.0,
        refusing="elbow: 92.1 is beyond its limit of 2.6",
    )
    supervisor.put("r1/wrist", ActorState.STARTING)
    browser.open(gateway.url)
    browser.wait_for("return document.querySelectorAll('#notes li').length === 4")
    notes = browser.run(
        "return [...document.querySelectorAll('#notes li')].map((l) => l.innerText)"
    )
    assert [note.split()[0] for note in notes] == ["r1", "r1/wrist", "r1", "r1/recorder"]
    assert "elbow: 92.1" in notes[0] and "its setup" in notes[1] and "fps 60" in notes[2]
    assert "elbow: 92.1" in browser.text("article .reason")
    assert "2 expired" in browser.text("article dl") and "1 range" in browser.text("article dl")
    assert browser.run(TONE, "#health") == "bad"
    unexplained = """
      return [...document.querySelectorAll('dt, th.number')]
        .filter((element) => !element.querySelector('abbr[title]')).map((e) => e.innerText);
    """
    assert browser.run(unexplained) == []


def test_robots_and_replicas_of_scripts_have_a_section_with_their_place(
    browser: Browser, gateway: Gateway
) -> None:
    """Each row has the host, the state and the figures."""
    browser.open(gateway.url)
    browser.wait_for("return document.querySelectorAll('#guests tr').length === 3")
    row = browser.run("return document.querySelector('#guests tr').innerText")
    for text in ("bench-arm", "script on lab", "STREAMING", "29.8 Hz", "3 of 900 steps"):
        assert text in row
    assert "1 of 8 robots" in browser.text("#guests tr:nth-child(2)")
    actor = browser.text("#guests tr:last-child")
    assert "cell2:r2/driver" in actor and "READY" in actor and "restarts 1" in actor


def test_the_page_of_a_fleet_without_robots_names_remote_policy(
    browser: Browser, gateway: Gateway, supervisor: ScriptedSupervisor
) -> None:
    """The section of other hosts is hidden while it is empty."""
    supervisor.robots = []
    supervisor.reports["broker"].update(sessions=[], replicas=[], actors=[])
    browser.open(gateway.url)
    browser.wait_for("return !document.getElementById('no-robots').hidden")
    assert "RemotePolicy" in browser.text("#no-robots")
    assert browser.run("return document.getElementById('elsewhere').hidden")
