"""A headless Chromium, driven over the W3C WebDriver protocol.

The protocol is JSON over HTTP, and a test of one page needs six of its commands: fewer lines than a
driver library would be packages.
"""

from __future__ import annotations

import base64
import http.client
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from holdfast.tests.run_mark import MARK
from holdfast.tests.waiting import wait_until

ABSENT = (
    None
    if shutil.which("chromium") and shutil.which("chromedriver")
    else "needs a browser: apt install chromium chromium-driver"
)
_ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
_FLAGS = (
    "--headless",
    "--no-sandbox",  # a container's root may not make one
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-breakpad",
    "--window-size=1360,1400",
)


class Browser:
    """One tab. Elements are named by CSS selectors."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        # Without the mark, because its processes outlive a test and come and go by themselves.
        unmarked = {name: value for name, value in os.environ.items() if name != MARK}
        self._driver = subprocess.Popen(
            ["chromedriver", "--port=0", f"--log-path={directory / 'chromedriver.log'}"],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=unmarked,
        )
        self._port = self._announced_port()
        options = {"args": [*_FLAGS, f"--user-data-dir={directory / 'profile'}"]}
        logging = {"browser": "ALL"}
        wanted = {"goog:chromeOptions": options, "goog:loggingPrefs": logging}
        session = self._ask("POST", "/session", capabilities={"alwaysMatch": wanted})
        self._session = f"/session/{session['sessionId']}"

    def renew(self) -> None:
        """Another tab in place of this one: nothing is open, emulated or complained of."""
        fresh = self._do("POST", "/window/new", type="tab")["handle"]
        self._do("DELETE", "/window")
        self._do("POST", "/window", handle=fresh)
        self.complaints()

    def open(self, url: str) -> None:
        self._do("POST", "/url", url=url)

    def run(self, script: str, *args: Any) -> Any:
        """The value of a function body of JavaScript; what it awaits is waited for."""
        return self._do(
            "POST", "/execute/sync", script=f"return (async () => {{{script}}})()", args=args
        )

    def text(self, selector: str) -> str:
        """The text of the first such element, "" if there is none."""
        return str(
            self.run("return document.querySelector(arguments[0])?.textContent ?? ''", selector)
        )

    def click(self, selector: str) -> None:
        """As a person does: the element has to be visible and not covered."""
        found = self._do("POST", "/element", using="css selector", value=selector)
        self._do("POST", f"/element/{found[_ELEMENT]}/click")

    def press(self, key: str) -> None:
        """Press and release a key, where the focus is."""
        actions = [{"type": "keyDown", "value": key}, {"type": "keyUp", "value": key}]
        self._do("POST", "/actions", actions=[{"type": "key", "id": "k", "actions": actions}])

    def write(self, text: str) -> None:
        """Type `text` where the focus is, in place of what is selected."""
        keys = [{"type": kind, "value": k} for k in text for kind in ("keyDown", "keyUp")]
        self._do("POST", "/actions", actions=[{"type": "key", "id": "k", "actions": keys}])

    def resize(self, width: int, height: int) -> None:
        """What the page has to draw in, in CSS pixels: narrower than a window may be."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self._do(
            "POST",
            "/goog/cdp/execute",
            cmd="Emulation.setDeviceMetricsOverride",
            params=size,
        )

    def emulate(self, **features: str) -> None:
        """Media features, like prefers_color_scheme="dark"."""
        listed = [{"name": k.replace("_", "-"), "value": v} for k, v in features.items()]
        self._do(
            "POST",
            "/goog/cdp/execute",
            cmd="Emulation.setEmulatedMedia",
            params={"features": listed},
        )

    def complaints(self) -> list[str]:
        """What the page logged as an error since the last call: failures of scripts and loads."""
        entries = self._do("POST", "/se/log", type="browser")
        return [entry["message"] for entry in entries if entry["level"] == "SEVERE"]

    def screenshot(self, path: Path) -> None:
        path.write_bytes(base64.b64decode(self._do("GET", "/screenshot")))

    def wait_for(self, script: str, *args: Any, within_s: float = 60.0) -> Any:
        """The first value of `script` that is true."""
        why = f"{script} {args}"
        try:
            return wait_until(lambda: self.run(script, *args), why, within_s, every_s=0.05)
        except AssertionError as error:
            self.screenshot(self._directory / "failed.png")
            page = self.run("return document.body.innerText")
            raise AssertionError(f"{error}; the page has:\n{page}") from None

    def close(self) -> None:
        try:
            if hasattr(self, "_session"):
                self._do("DELETE", "")
        finally:
            self._driver.terminate()
            self._driver.wait(60)
            assert self._driver.stdout is not None
            self._driver.stdout.close()

    def _announced_port(self) -> int:
        assert self._driver.stdout is not None
        for line in self._driver.stdout:
            if "started successfully on port" in line:
                return int(line.rstrip(".\n").rpartition(" ")[2])
        pytest.fail("chromedriver did not start")

    def _do(self, method: str, path: str, **body: Any) -> Any:
        return self._ask(method, self._session + path, **body)

    def _ask(self, method: str, path: str, **body: Any) -> Any:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)
        try:
            payload = json.dumps(body).encode() if method == "POST" else None
            connection.request(method, path, payload, {"content-type": "application/json"})
            value = json.loads(connection.getresponse().read())["value"]
        finally:
            connection.close()
        if isinstance(value, dict) and "error" in value:
            raise AssertionError(f"{method} {path}: {value['error']}: {value['message']}")
        return value


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """A browser with a profile of its own, for all tests of a module: it takes long to start."""
    if ABSENT:
        pytest.skip(ABSENT)
    directory = Path(tempfile.mkdtemp(prefix="holdfast-browser-"))
    window = Browser(directory)
    try:
        yield window
    finally:
        window.close()
        shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture
def browser(chromium: Browser) -> Iterator[Browser]:
    """A new tab, closed after the test."""
    yield chromium
    chromium.renew()
