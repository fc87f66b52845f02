"""The container files. No image is built here: no container engine runs. What is checked is that
the files agree with the package and with the fleet that they start."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from holdfast.actors.fleet.expand import expand
from holdfast.actors.fleet.loading import load
from holdfast.actors.supervision.headroom import needs

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "deploy" / "container"
DOCKERFILE = (FOLDER / "Dockerfile").read_text()
INSTRUCTIONS = re.sub(r"\\\n", " ", re.sub(r"^\s*#.*\n", "", DOCKERFILE, flags=re.MULTILINE))
STAGE = re.compile(r"^FROM \S+ AS (\w+)\n(.*?)(?=^FROM|\Z)", re.DOTALL | re.MULTILINE)
STAGES = STAGE.findall(INSTRUCTIONS)


def test_every_image_runs_as_a_user_that_is_not_root() -> None:
    """The last user of each stage that is an image; the stage that builds the wheel is none."""
    images = {name: re.findall(r"^USER (\S+)", body, re.MULTILINE) for name, body in STAGES}
    assert {name: users[-1:] for name, users in images.items()} == {
        "wheel": [],
        "robot": ["10001:10001"],
        "cpu": ["10001:10001"],
        "cuda": ["10001:10001"],
    }


def test_only_the_images_with_a_policy_install_torch() -> None:
    """A robot's computer installs the package without extras."""
    with_policy = [name for name, body in STAGES if ".whl)[policy]" in body]
    assert with_policy == ["cpu", "cuda"]


def test_what_torch_compiled_outlives_the_container() -> None:
    """Its cache lies in the volume of the state, not in /tmp."""
    cpu = dict(STAGES)["cpu"]
    (cache,) = re.findall(r"^ENV TORCHINDUCTOR_CACHE_DIR=(\S+)", cpu, re.MULTILINE)
    (service,) = yaml.safe_load((FOLDER / "compose.yaml").read_text())["services"].values()
    volumes = [v.split(":")[1] for v in service["volumes"] if not v.endswith(":ro")]
    assert any(Path(cache).is_relative_to(volume) for volume in volumes)
    assert not any(Path(cache).is_relative_to(lost) for lost in service["tmpfs"])


def test_what_is_left_out_of_the_build_is_not_part_of_the_package() -> None:
    """The wheel is made from what the ignore file leaves."""
    ignored = (FOLDER / "Dockerfile.dockerignore").read_text().splitlines()
    packaged = (ROOT / "pyproject.toml").read_text()
    for name in ("tests", "docs"):
        assert name in ignored and f'"holdfast.{name}' not in packaged
    for line in ignored:
        assert line not in ("deploy", "policy", "actors", "fleet.yaml", "README.md", "LICENSE")


def test_the_shared_memory_of_the_composed_fleet_suffices() -> None:
    """By the figure that `supervisor check` prints for the same file."""
    (service,) = yaml.safe_load((FOLDER / "compose.yaml").read_text())["services"].values()
    assert service["read_only"] and service["cap_drop"] == ["ALL"]
    mounted = [v.split(":")[0] for v in service["volumes"] if v.endswith("fleet.yaml:ro")]
    file = (FOLDER / mounted[0]).resolve()
    need = needs(expand(load(file), None, Path("/run")))
    assert int(service["shm_size"].removesuffix("m")) * 2**20 >= need.shm_bytes
    assert service["pids_limit"] >= need.processes
    assert service["ulimits"]["nofile"] >= need.descriptors
