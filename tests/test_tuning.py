"""docs/tuning.md: its settings, its names and its commands are those of the programs."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import msgspec
import yaml

from holdfast.actors.control.config import TimingSettings
from holdfast.actors.control.realtime import take
from holdfast.actors.fleet.schema import BrokerEntry
from holdfast.tests.peers.environments import ROOT
from holdfast.tests.source import Source
from holdfast.tools.bench.control import refused
from holdfast.tools.cli import doctor

GUIDE = (ROOT / "docs" / "tuning.md").read_text()
FILES = [
    yaml.safe_load(text)
    for text in re.findall(r"^```yaml\n(.*?)^```$", GUIDE, re.DOTALL | re.MULTILINE)
]
TABLE = "| doctor | what to do | seen by | |\n| --- | --- | --- | --- |\n"
BIN = Path(sys.executable).parent


def test_the_settings_are_those_of_a_robots_entry() -> None:
    """The page has all of them, and no others."""
    given = FILES[0]["timing"]
    settings = msgspec.convert(given, TimingSettings)
    assert set(given) == {field.name for field in msgspec.structs.fields(settings)}
    assert set(take(TimingSettings())) >= {"affinity", "fifo", "mlock"}


def test_the_defaults_are_those_of_the_brokers_entry() -> None:
    """Where the page says that a value is the default."""
    assert msgspec.convert(FILES[1]["broker"], BrokerEntry) == BrokerEntry()


def test_the_names_of_the_status_are_those_that_control_reports() -> None:
    """As `actorctl status --json` shows them."""
    source = (ROOT / "actors" / "control" / "loop.py").read_text()
    for name in ("timing", "tick_lateness_recent_us"):
        assert f"`{name}`" in GUIDE and f'report["{name}"]' in source


def test_the_counts_of_frames_in_rings_are_those_of_the_network_actor() -> None:
    """Each is explained, and there are no others."""
    counted = Source(ROOT / "actors" / "network" / "ring_use.py").texts()
    sentence = GUIDE.partition("`shared_frames`")[2].partition("\n")[0]
    named = set(re.findall(r"\(`([a-z_]+)`\)", sentence))
    assert named == {text for text in counted if re.fullmatch("[a-z_]+", text)}


def test_the_doctors_lines_have_the_names_that_the_doctor_gives_them() -> None:
    """And those of them that are about jitter are all there."""
    rows = GUIDE.partition(TABLE)[2].partition("\n\n")[0].splitlines()
    named = {row.split("|")[1].strip(" `") for row in rows}
    checks = (
        doctor.sleep_accuracy,
        doctor.processors,
        doctor.frequency_governor,
        doctor.realtime_priority,
        doctor.locked_memory,
    )
    assert named == {check().what for check in checks}


def test_the_commands_are_understood() -> None:
    """Each with --help behind it, which ends with its usage."""
    (text,) = re.findall(r"^```console\n(.*?)^```$", GUIDE, re.DOTALL | re.MULTILINE)
    lines = [line.removeprefix("$ ") for line in text.splitlines()]
    assert len(lines) == 2
    for line in lines:
        program, *words = shlex.split(line)
        command = [str(BIN / program), *words, "--help"]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=240)
        assert done.returncode == 0 and "sage" in done.stdout, done.stderr
        for option in (word for word in words if word.startswith("--")):
            assert option in done.stdout


def test_a_core_that_is_not_there_is_named() -> None:
    """Before anything is measured; one that is there is not refused."""
    assert "4000" in refused(TimingSettings(affinity=(4000,)))
    assert not refused(TimingSettings(affinity=(min(os.sched_getaffinity(0)),)))
