"""The dashboard in a headless Chromium: its text is readable, and nothing is cut."""

from __future__ import annotations

import pytest

from holdfast.actors.supervision.supervised import ActorState
from holdfast.tests.actors.gateway.running_gateway import Gateway
from holdfast.tests.actors.gateway.scripted_supervisor import ScriptedSupervisor
from holdfast.tests.browser import Browser

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]

TONE = "return document.querySelector(arguments[0])?.dataset.tone"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_is_readable_on_its_ground_in_both_schemes(
    browser: Browser, gateway: Gateway, supervisor: ScriptedSupervisor, scheme: str
) -> None:
    """WCAG AA: a contrast of at least 4.5 for every text on the page."""
    supervisor.put("broker", ActorState.BACKOFF, reason="killed by SIGKILL")
    supervisor.put("r1/wrist", ActorState.STARTING)
    browser.emulate(prefers_color_scheme=scheme)
    browser.open(gateway.url)
    browser.wait_for(f"{TONE} === 'bad'", "#health")
    dark = browser.run("return matchMedia('(prefers-color-scheme: dark)').matches")
    assert dark == (scheme == "dark")
    assert browser.run(CONTRASTS) == []


CONTRASTS = """
  const rgb = (text) => text.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b]
    .map((v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, k) => sum + v * [0.2126, 0.7152, 0.0722][k], 0);
  const ground = (element) => {
    for (; element; element = element.parentElement) {
      const found = rgb(getComputedStyle(element).backgroundColor);
      if (found.length === 3 || found[3] === 1) return found;
    }
  };
  const poor = [];
  for (const element of document.querySelectorAll("body *")) {
    const own = [...element.childNodes].some((n) => n.nodeType === 3 && n.data.trim());
    if (!own || !element.getClientRects().length || element.matches(":disabled")) continue;
    const [a, b] = [rgb(getComputedStyle(element).color), ground(element)].map(light);
    const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (contrast < 4.5) poor.push(`${element.tagName} ${element.textContent}: ${contrast}`);
  }
  return poor;
"""


@pytest.mark.parametrize("width", [400, 1280])
def test_no_text_is_cut_and_nothing_scrolls_sideways_at_any_width(
    browser: Browser, gateway: Gateway, supervisor: ScriptedSupervisor, width: int
) -> None:
    """In the worst case of long names, reasons and states."""
    supervisor.reports["r1/control"].update(state="RECONNECTING", reason="no replica serves 'pick'")
    supervisor.put(
        "r1/overhead", ActorState.BACKOFF, reason="exited with status 1: " + "no camera " * 9
    )
    browser.resize(width, 900)
    browser.open(gateway.url)
    browser.wait_for(
        "return document.querySelector('article .state')?.innerText === 'RECONNECTING'"
    )
    supervisor.put("broker", ActorState.READY, incarnation=2)
    browser.wait_for("return document.querySelector('#events time')")
    assert browser.run("return document.documentElement.scrollWidth") <= width
    lines = """
      const lines = (element) => {
        const range = document.createRange();
        range.selectNodeContents(element);
        return new Set([...range.getClientRects()].map((box) => Math.round(box.bottom / 8))).size;
      };
      return [...document.querySelectorAll('.state, #events time, button, dt')]
        .filter((element) => lines(element) > 1).map((element) => element.innerText);
    """
    assert browser.run(lines) == []
    drawn = browser.run("""
      const canvas = document.querySelector('article canvas');
      const pen = canvas.getContext('2d');
      const drawn = [];
      const write = pen.fillText.bind(pen);
      pen.fillText = (text, x, y) => {
        const wide = pen.measureText(text).width;
        const left = { left: x, right: x - wide, center: x - wide / 2 }[pen.textAlign];
        drawn.push([text, left >= 0 && left + wide <= canvas.clientWidth]);
        write(text, x, y);
      };
      await new Promise((done) => setTimeout(done, 400));
      return drawn;
    """)
    assert "RECONNECTING" in {text for text, _ in drawn}
    assert {"state", "plan left to play", "request latency", "now"} <= {text for text, _ in drawn}
    assert [text for text, whole in drawn if not whole] == []
