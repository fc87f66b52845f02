"""The page of recorded datasets in a headless Chromium, against a real dataset."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from holdfast.robot.dataset.dataset_writer import DatasetWriter
from holdfast.robot.dataset.encoding import Encoding
from holdfast.tests.actors.gateway.running_gateway import Gateway
from holdfast.tests.actors.gateway.scripted_supervisor import ScriptedSupervisor
from holdfast.tests.browser import Browser
from holdfast.tests.robot.dataset import recordings

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]

LENGTHS = (60, 44, 30, 30)
ROWS = "return [...document.querySelectorAll('#episodes tr')].map((row) => row.dataset.episode)"
SHOWN = f"{ROWS}.join() === arguments[0]".replace("return ", "return (") + ")"
GREYS = """
  const videos = [...document.querySelectorAll('video')];
  if (videos.length !== 2 || videos.some((v) => v.seeking || v.readyState < 2)) return null;
  return videos.map((video) => {
    const canvas = document.createElement('canvas');
    [canvas.width, canvas.height] = [8, 8];
    const pen = canvas.getContext('2d');
    pen.drawImage(video, 0, 0, 8, 8);
    return pen.getImageData(4, 4, 1, 1).data[0];
  });
"""
"""The grey value that each video shows."""
INK = """
  const canvas = document.querySelector('#curves');
  const pixels = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
  return pixels.filter((value, k) => k % 4 === 3 && value > 0).length;
"""
LEFT, RIGHT, HOME, END, ESCAPE = "\ue012", "\ue014", "\ue011", "\ue010", "\ue00c"


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    root = tmp_path_factory.mktemp("datasets") / "pick"
    writer = DatasetWriter(root, "r1", recordings.SCHEMA)
    judged = (True, False, None, True)
    for number, (length, success) in enumerate(zip(LENGTHS, judged, strict=True)):
        writer.commit(recordings.record(writer, number, length), success=success)
    writer.close()
    yield root
    shutil.rmtree(root)


@pytest.fixture
def page(
    browser: Browser, recorded: Path, rundir: Path, supervisor: ScriptedSupervisor
) -> Iterator[Browser]:
    """The list of the only dataset."""
    del supervisor
    gateway = Gateway(rundir, datasets={"pick": str(recorded)})
    try:
        browser.open(gateway.url.replace("/#", "/dataset.html#"))
        browser.wait_for(SHOWN, "0,1,2,3")
        yield browser
    finally:
        gateway.close()


def shows(browser: Browser, frame: int) -> None:
    """Wait until both videos show it, and the page says so."""
    said = f"frame {frame}"
    browser.wait_for(
        "return document.querySelector('#at').textContent.endsWith(arguments[0])", said
    )
    near = "const g = await (async () => {" + GREYS + "})();"
    grey = recordings.grey(frame)
    browser.wait_for(f"{near} return g && g.every((v) => Math.abs(v - {grey}) <= 2)")


def test_the_list_is_filtered_and_leads_to_an_episode_and_back(page: Browser) -> None:
    """The browser's own buttons and a reload work, because the address says what is shown."""
    assert "succeeded" in page.text('tr[data-episode="0"]')
    assert "25 %" in page.text('tr[data-episode="1"]'), "a quarter is by hand"
    choose = """
      const field = document.querySelector('#filters').elements[arguments[0]];
      field.value = arguments[1];
      field.dispatchEvent(new Event('input', { bubbles: true }));
    """
    page.run(choose, "success", "yes")
    page.wait_for(SHOWN, "0,3")
    page.run(choose, "task", "TASK 1")
    page.wait_for("return !document.querySelector('#none').hidden")
    page.run(choose, "success", "no")
    page.wait_for(SHOWN, "1")
    page.click('tr[data-episode="1"] a')
    page.wait_for("return document.querySelector('#episode-title').textContent === 'Episode 1'")
    assert page.run("return location.search") == "?dataset=pick&episode=1"
    page.run("location.reload()")
    page.wait_for("return document.querySelector('#episode-title').textContent === 'Episode 1'")
    page.run("history.back()")
    page.wait_for("return !document.querySelector('#list').hidden")
    assert page.complaints() == []


def test_all_videos_show_the_frame_of_the_one_clock(page: Browser) -> None:
    """By the keyboard: step, second, ends; playing; the next episode; Escape to the list."""
    page.click('tr[data-episode="0"] a')
    shows(page, 0)
    page.press(RIGHT)
    page.press(RIGHT)
    shows(page, 2)
    page.press(LEFT)
    shows(page, 1)
    page.press(END)
    shows(page, 59)
    page.press(HOME)
    shows(page, 0)
    page.run("document.querySelector('#speed').value = '0.5'")
    page.run("document.querySelector('#speed').dispatchEvent(new Event('change'))")
    page.press(" ")
    page.wait_for("return document.querySelector('#seek').valueAsNumber >= 10")
    page.press(" ")
    stopped = page.run("return document.querySelector('#seek').valueAsNumber")
    shows(page, stopped)
    page.press("]")
    assert page.run("return document.querySelector('#speed').value") == "1"
    page.press(" ")
    page.wait_for("return document.querySelector('#play').textContent === 'Play'")
    shows(page, 59)
    page.press("n")
    page.wait_for("return document.querySelector('#episode-title').textContent === 'Episode 1'")
    shows(page, 0)
    page.press(ESCAPE)
    page.wait_for("return !document.querySelector('#list').hidden")
    assert page.run("return document.querySelectorAll('video').length") == 0
    assert page.complaints() == []


def test_the_curves_and_the_origin_follow_the_cursor(page: Browser) -> None:
    """A click on the curves seeks; the step says its chunk, its latency and who commanded."""
    page.click('tr[data-episode="0"] a')
    shows(page, 0)
    page.wait_for(INK.replace("length;", "length > 2000;"))
    for _ in range(3):
        page.press(RIGHT)
    origin = "return document.querySelector('#origin').textContent"
    page.wait_for(f"{origin}.includes('a person')")
    page.press(RIGHT)
    page.wait_for(f"{origin}.includes('the policy')")
    assert page.run(origin).startswith("session7seq1step of the chunk1latency90 ms")
    assert "newest" in page.text('figure[data-camera="top"] figcaption')
    page.run("""
      const canvas = document.querySelector('#curves');
      const box = canvas.getBoundingClientRect();
      canvas.setPointerCapture = () => {};
      const at = { clientX: box.left + box.width / 2, clientY: box.top + 60, pointerId: 1 };
      canvas.dispatchEvent(new PointerEvent('pointerdown', at));
      canvas.dispatchEvent(new PointerEvent('pointerup', at));
    """)
    shows(page, 30)
    page.press("+")
    page.press("+")
    page.wait_for("return document.querySelector('#zoom').value === '2'")


def test_a_phone_shows_the_page_whole(page: Browser) -> None:
    """Nothing is wider than the window, in the list or an episode; dark where that is wished."""
    page.resize(390, 800)
    wider = "return document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert page.run(wider) == 0
    page.click('tr[data-episode="0"] a')
    shows(page, 0)
    page.wait_for(INK)
    assert page.run(wider) == 0
    for scheme in ("light", "dark"):
        page.emulate(prefers_color_scheme=scheme)
        background = page.run("return getComputedStyle(document.body).backgroundColor")
        levels = [int(level) for level in re.findall(r"\d+", background)]
        assert all((level < 64) == (scheme == "dark") for level in levels)


def test_one_dataset_is_viewed_without_a_fleet_until_it_is_interrupted(
    browser: Browser, recorded: Path
) -> None:
    """`actorctl dataset view` prints the link, serves the same page, and ends at Ctrl-C."""
    command = [sys.executable, "-m", "holdfast.tools.cli.actorctl", "dataset", "view"]
    viewer = subprocess.Popen(
        [*command, str(recorded)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    try:
        assert viewer.stdout is not None
        line = viewer.stdout.readline()
        found = re.search(r"http://127\.0\.0\.1:\d+/#\S+", line)
        assert found, line
        browser.open(found[0])
        browser.wait_for(SHOWN, "0,1,2,3")
        browser.click('tr[data-episode="2"] a')
        shows(browser, 0)
        assert browser.run("return document.querySelector('#fleet').hidden")
        assert browser.complaints() == []
        viewer.send_signal(signal.SIGINT)
        assert viewer.wait(60) == 0
    finally:
        viewer.kill()
        viewer.wait()
        if viewer.stdout is not None:
            viewer.stdout.close()


def test_stored_images_follow_the_clock_and_a_codec_that_is_not_played_is_said(
    browser: Browser, rundir: Path, supervisor: ScriptedSupervisor, tmp_path: Path
) -> None:
    """A picture of the rows is that of the frame; HEVC, which Chromium lacks, is a sentence."""
    del supervisor
    stored, hevc = tmp_path / "stored", tmp_path / "hevc"
    recordings.dataset(stored, recordings.BLIND, (40,))
    recordings.store_images(stored)
    writer = DatasetWriter(hevc, "r1", recordings.SMALL, Encoding(codec="hevc"))
    writer.commit(recordings.record(writer, 0, 5))
    writer.close()
    gateway = Gateway(rundir, datasets={"stored": str(stored), "hevc": str(hevc)})
    grey = """
      const image = document.querySelector('#videos img');
      if (!image || !image.complete || image.dataset.frame !== String(arguments[0])) return false;
      const canvas = document.createElement('canvas');
      const pen = canvas.getContext('2d');
      pen.drawImage(image, 0, 0, 8, 8);
      return pen.getImageData(4, 4, 1, 1).data[0] === arguments[1];
    """
    try:
        browser.open(gateway.url.replace("/#", "/dataset.html?dataset=stored&episode=0#"))
        browser.wait_for(grey, 0, recordings.grey(0))
        browser.press(RIGHT)
        browser.wait_for(grey, 1, recordings.grey(1))
        browser.press(" ")
        browser.wait_for("return document.querySelector('#play').textContent === 'Play'")
        browser.wait_for(grey, 39, recordings.grey(39))
        browser.open(gateway.url.replace("/#", "/dataset.html?dataset=hevc&episode=0#"))
        browser.wait_for("return document.querySelector('.why-not')")
        said = browser.text(".why-not")
        assert "the video is HEVC (H.265), which this browser does not play" in said
        assert browser.complaints() == []
    finally:
        gateway.close()
