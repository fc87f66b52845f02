"""The package as a wheel, installed where no checkout is: what people install from an index."""

from __future__ import annotations

import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

from holdfast.tests.waiting import wait_until

ROOT = Path(__file__).parents[2]
LEFT_OUT = (".git", ".venv", ".peers", ".*_cache", ".hypothesis", "build", "dist", "*.egg-info")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


class Installation:
    """An environment with the wheel, and a folder to work in."""

    def __init__(self, base: Path) -> None:
        self.bin = base / "env" / "bin"
        self.folder = base / "elsewhere"
        self.folder.mkdir()
        own = {"HOLDFAST_RUNTIME": str(base / "r"), "HOLDFAST_STATE": str(base / "s")}
        self.environment = {**os.environ, **own}
        self.environment.pop("PYTHONPATH", None)

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """A command of the environment, in the folder."""
        return subprocess.run(
            [self.bin / words[0], *words[1:]],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installation:
    """The wheel, built from a copy of the tree and installed into a new environment.

    What its metadata ask for, with the extra [policy], is linked from these tests' own environment,
    and nothing else: a download would take minutes, and .ci/run installs the same from an index."""
    base = tmp_path_factory.mktemp("wheel")
    source = base / "source"
    shutil.copytree(ROOT, source, ignore=shutil.ignore_patterns(*LEFT_OUT), symlinks=True)
    _pip("wheel", "--no-build-isolation", "--no-deps", "-w", str(base), str(source))
    shutil.rmtree(source)
    (wheel,) = base.glob("holdfast-*.whl")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", base / "env"], check=True)
    installation = Installation(base)
    python = str(installation.bin / "python")
    _pip("--python", python, "install", "--no-deps", "--no-index", str(wheel))
    (site,) = (base / "env" / "lib").glob("python*/site-packages")
    (made,) = importlib.metadata.distributions(name="holdfast", path=[str(site)])
    for needed in _closure(made, {"policy"}, {}).values():
        for top in {file.parts[0] for file in needed.files or ()} - {"..", "__pycache__"}:
            (site / top).symlink_to(Path(str(needed.locate_file(top))))
    return installation


def _pip(*words: str) -> None:
    subprocess.run([sys.executable, "-m", "pip", "-q", *words], check=True, timeout=500)


def _closure(
    of: importlib.metadata.Distribution,
    extras: set[str],
    found: dict[str, importlib.metadata.Distribution],
) -> dict[str, importlib.metadata.Distribution]:
    """`found` and all that `of` requires, by name, as far as this machine and `extras` ask for."""
    for line in of.requires or ():
        needed = Requirement(line)
        markers = needed.marker
        if markers and not any(markers.evaluate({"extra": extra}) for extra in (*extras, "")):
            continue
        if needed.name not in found:
            found[needed.name] = importlib.metadata.distribution(needed.name)
            _closure(found[needed.name], needed.extras, found)
    return found


def test_the_wheel_runs_the_fleet_that_init_writes(installed: Installation) -> None:
    """Init, check, start, status and stop: two robots stream, the page is served, all is gone."""
    where = installed.run("python", "-c", "import holdfast; print(holdfast.__file__)")
    assert where.stdout.startswith(str(installed.bin.parent))
    assert installed.run("supervisor", "init").returncode == 0
    done = installed.run("supervisor", "check")
    assert done.returncode == 0, done.stdout + done.stderr
    done = installed.run("supervisor", "start", "--detach")
    assert done.returncode == 0, done.stdout + done.stderr
    status: dict[str, Any] = {}

    def streaming() -> bool:
        nonlocal status
        done = installed.run("actorctl", "status", "--json")
        status = json.loads(done.stdout or "{}")
        return done.returncode == 0 and all(r["state"] == "STREAMING" for r in status["robots"])

    try:
        try:
            wait_until(streaming, "both robots stream", 240, every_s=0.5)
        except AssertionError as error:
            raise AssertionError(f"{error}: {json.dumps(status, indent=1)}") from None
        assert [robot["name"] for robot in status["robots"]] == ["r1", "r2"]
        shown = installed.run("actorctl", "status").stdout
        page = next(w for w in shown.split() if w.startswith("http://"))
        script = f"import urllib.request as r; print(r.urlopen({page!r}.split('#')[0]).read())"
        assert "<title>" in installed.run("python", "-c", script).stdout
    finally:
        done = installed.run("supervisor", "stop")
    assert done.returncode == 0, done.stdout + done.stderr
    assert installed.run("actorctl", "status").returncode != 0


def test_the_wheel_holds_what_its_programs_read(installed: Installation) -> None:
    """The schema, the metrics' names, the shipped policies, the tools: nothing of a checkout."""
    assert json.loads(installed.run("supervisor", "schema").stdout)["title"]
    files = """
from importlib.resources import files
package = files("holdfast")
for path in ("py.typed", "fleet.yaml", "actors/gateway/metrics.md",
             "actors/gateway/dashboard/index.html", "policy/checkpoints/conveyor-flow/config.json"):
    assert package.joinpath(path).is_file(), path
"""
    done = installed.run("python", "-c", files)
    assert done.returncode == 0, done.stderr
    for words in (("actorctl", "--help"), ("holdfast-train", "--help"), ("actorctl", "doctor")):
        done = installed.run(*words)
        assert "Traceback" not in done.stderr, done.stderr
