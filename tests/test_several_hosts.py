"""docs/several-hosts.md, followed: its files, its commands for keys, its table of keys."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from holdfast.actors.fleet.expand import expand
from holdfast.actors.fleet.loading import load
from holdfast.tests.peers.environments import ROOT
from holdfast.tools.cli.key_commands import app as keys

GUIDE = (ROOT / "docs/several-hosts.md").read_text()
TWO, ROUGH, LAB = re.findall(r"```yaml\n(.*?)```", GUIDE, re.DOTALL)
MADE = re.findall(r"^actorctl keys new (\S+)$", GUIDE, re.MULTILINE)
HELD = dict(re.findall(r"^\| (server|cell1) \| (.*?) \|$", GUIDE, re.MULTILINE))


def make_keys(names: list[str], directory: Path) -> None:
    for name in names:
        done = CliRunner().invoke(keys, ["new", name, "--directory", str(directory)])
        assert done.exit_code == 0, done.output


@pytest.mark.parametrize("host", ["server", "cell1"])
def test_each_host_needs_no_more_keys_than_the_table_gives_it(host: str, tmp_path: Path) -> None:
    """Its part of the fleet expands with these files and no others."""
    make_keys(MADE, tmp_path / "all")
    here = tmp_path / host
    (here / "keys").mkdir(parents=True)
    (here / "fleet.yaml").write_text(TWO)
    wanted = re.findall(r"`([\w@.]+\.(?:key|pub))`", HELD[host])
    if "every `.pub`" in HELD[host]:
        wanted += [path.name for path in (tmp_path / "all").glob("*.pub")]
    for name in wanted:
        shutil.copy(tmp_path / "all" / name, here / "keys")
    kinds = {a.kind for a in expand(load(here / "fleet.yaml"), host, Path("/run"))}
    assert "gateway" in kinds
    assert ("broker" in kinds) == (host == "server") and ("control" in kinds) == (host == "cell1")


def test_the_setting_for_a_rough_link_reaches_the_robots_network_actor(tmp_path: Path) -> None:
    """In the entry of the two hosts' robot."""
    make_keys(MADE, tmp_path / "keys")
    fleet = yaml.safe_load(TWO)
    fleet["robots"][0] |= yaml.safe_load(ROUGH)["robots"][0]
    (tmp_path / "fleet.yaml").write_text(yaml.safe_dump(fleet))
    actors = expand(load(tmp_path / "fleet.yaml"), "cell1", Path("/run"))
    (network,) = [a for a in actors if a.kind == "network"]
    assert network.config["max_uplink_kbps"] == 400


def test_the_file_of_the_gpu_server_is_right(tmp_path: Path) -> None:
    """A broker and two replicas, which listen for scripts on other machines."""
    make_keys(["broker", "pick/0", "pick/1"], tmp_path / "keys")
    (tmp_path / "fleet.yaml").write_text(LAB)
    actors = expand(load(tmp_path / "fleet.yaml"), "server", Path("/run"))
    assert [a.name for a in actors] == ["broker", "pick/0", "pick/1", "gateway"]
    assert actors[0].config["front_tcp"] == "tcp://10.0.0.2:7447"
    assert 'broker="tcp://10.0.0.2:7447"' in GUIDE
