"""Who may import whom, and that no two things have one name.

Every import counts, those inside functions and those for type checking too: each is something that
a reader of the module has to know.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections import defaultdict
from collections.abc import Iterable, Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from holdfast.actors.runtime.kinds import KINDS

ROOT = Path(__file__).parents[1]
GROUND = ("transport", "policy", "robot")
"""The ground floor. Its rooms do not know each other."""

FLOORS = ("tools", "actors", "ground", "root")
"""From the top. `root` are the modules beside the folders that every room may use."""

ROOT_MODULES = ("arguments", "disk", "errors")
API = ("__init__", "__main__")
"""The entry points of the package. They may name everything, and no module of ours imports them."""

ACTORS = {
    "runtime": (),
    "jitter_probe": ("runtime",),
    "driver": ("runtime",),
    "sensor": ("runtime",),
    "broker": ("runtime",),
    "inference": ("runtime",),
    "clients": ("runtime",),
    "control": ("runtime", "driver"),
    "teleoperator": ("runtime", "driver", "control"),
    "network": ("runtime", "control"),
    "supervision": ("runtime", "driver"),
    "recorder": ("runtime", "control", "supervision"),
    "pool": ("runtime", "inference", "supervision"),
    "gateway": ("runtime", "driver", "supervision", "control"),
    "telemetry": ("runtime", "control", "network"),
    "fleet": (
        "runtime",
        "jitter_probe",
        "driver",
        "sensor",
        "inference",
        "clients",
        "control",
        "teleoperator",
        "recorder",
        "telemetry",
    ),
    "embedding": ("runtime", "driver", "network", "inference", "control", "supervision", "fleet"),
}
"""The folders and modules of actors/, each with those that it may import, from the bottom up."""

FOLDERS = ("actors", "actors.driver")
"""Packages of which a control process holds a part."""

CONTROL_PROCESS = (
    "actors.control",
    "actors.driver.registers",
    "actors.driver.wake",
    "actors.runtime",
    "transport",
    "robot",
    *ROOT_MODULES,
)
"""What a control process may hold of us."""

SAME_MODULE_NAME = {
    "base": "policy.base and robot.base hold the interface of each room",
    "kinds": "policy.kinds makes the built-in policies, runtime.kinds the actors",
    "frames": "tools.bench.frames measures transport.frames",
    "driver": "tools.bench.driver measures actors.driver.driver",
    "replica": "tools.bench.replica measures actors.inference.replica",
}
"""Modules that share a name on purpose, with the reason."""


def sources() -> Iterator[Path]:
    """Every module of the package outside its tests, relative to the root."""
    for folder in (".", *GROUND, "actors", "tools"):
        found = (ROOT / folder).glob("*.py" if folder == "." else "**/*.py")
        yield from (path.relative_to(ROOT) for path in found)


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse((ROOT / path).read_text())


@cache
def imports(path: Path) -> set[str]:
    """The modules of ours that `path` imports, as dotted names below the package."""
    package = path.parent.parts
    found: set[str] = set()
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else ()
            base = [*(["holdfast"] if node.level else []), *above]
            base += [node.module] if node.module else []
            # The name may be a module itself: `from . import drivers`.
            found |= {".".join([*base, alias.name]) for alias in node.names}
    ours = {name.removeprefix("holdfast.") for name in found if name.startswith("holdfast.")}
    return {name for name in ours if name.partition(".")[0] not in API}


def floor(name: str) -> str:
    """The floor of a dotted name."""
    top = name.partition(".")[0]
    if top in GROUND:
        return "ground"
    return top if top in FLOORS else "root"


def dotted(path: Path) -> str:
    return ".".join(path.with_suffix("").parts)


def room(name: str) -> str:
    """The folder or module of actors/ that a dotted name is in; the folder of any other."""
    return name.split(".")[1 if name.startswith("actors.") else 0]


def modules() -> list[Path]:
    return [path for path in sources() if path.as_posix() not in {f"{n}.py" for n in API}]


def test_ray_is_imported_by_the_process_of_a_pool_only() -> None:
    """And by the peer of the benchmark that measures Ray's own actors."""
    found = set()
    for path in sources():
        for node in ast.walk(parsed(path)):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            if any(name.partition(".")[0] == "ray" for name in names):
                found.add(path.as_posix())
    assert found == {"actors/pool/ray_cluster.py", "tools/bench/peers/ray_actor.py"}
    users = {dotted(path) for path in sources() if "actors.pool.ray_cluster" in _modules(path)}
    assert users == {"actors.pool.pool"}, "which is loaded by its kind's name"


def _modules(path: Path) -> set[str]:
    return {name.rpartition(".")[0] for name in imports(path)} | imports(path)


def test_the_parser_sees_every_form_of_import() -> None:
    """Relative, absolute, within functions and under TYPE_CHECKING: each is found where it is."""
    assert "transport.frame_ring.FrameRing" in imports(Path("actors/fleet/segment_uses.py"))
    assert "robot.sim.scene" in imports(Path("actors/fleet/segment_uses.py"))
    assert "actors.control.drivers" in imports(Path("actors/control/driven_robot.py"))
    assert "actors.runtime.spec.ActorSpec" in imports(Path("actors/supervision/headroom.py"))
    assert len(modules()) > 150


def test_imports_go_down_only() -> None:
    """tools, actors, the ground floor, the root's modules: none imports a floor above its own."""
    wrong = [
        f"{path} imports {name}"
        for path in modules()
        for name in imports(path)
        if FLOORS.index(floor(name)) < FLOORS.index(floor(dotted(path)))
    ]
    assert not wrong


def test_the_rooms_of_the_ground_floor_do_not_import_each_other() -> None:
    """transport, policy and robot each stand alone."""
    wrong = [
        f"{path} imports {name}"
        for path in modules()
        for name in imports(path)
        if floor(dotted(path)) == floor(name) == "ground" and room(dotted(path)) != room(name)
    ]
    assert not wrong


def test_an_actors_folder_imports_only_those_below_it() -> None:
    """The order in ACTORS holds, and no actor imports another."""
    wrong = [
        f"{path} imports {name}"
        for path in modules()
        if path.parts[0] == "actors" and len(path.parts) > 1 and path.name != "__init__.py"
        for name in imports(path)
        if floor(name) == "actors"
        and room(name) not in (room(dotted(path)), *ACTORS[room(dotted(path))])
    ]
    assert not wrong


def test_the_order_of_actors_has_no_cycle_and_names_what_exists() -> None:
    """ACTORS is from the bottom up and complete: a new folder has to say what it stands on."""
    assert list(TopologicalSorter(ACTORS).static_order())  # CycleError otherwise
    names = list(ACTORS)
    assert all(names.index(below) < names.index(name) for name in names for below in ACTORS[name])
    there = {room(dotted(path)) for path in modules() if path.parts[0] == "actors"}
    assert there - {"__init__"} == set(ACTORS)


def test_the_root_holds_only_what_every_room_may_use() -> None:
    """A module beside the folders belongs to ROOT_MODULES or is an entry point of the package."""
    beside = {path.stem for path in sources() if len(path.parts) == 1}
    assert beside <= {*ROOT_MODULES, *API}


@pytest.fixture(scope="module")
def control_process() -> set[str]:
    """The names of all modules in a process that has imported the control actor."""
    script = "import sys, holdfast.actors.control.loop; print(*sys.modules)"
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


def test_the_control_process_holds_no_policy_no_simulator_and_no_torch(
    control_process: set[str],
) -> None:
    """What can take seconds to import, or is of no use to a real robot, is not there."""
    assert not {"torch", "cv2"} & control_process
    ours = {name.removeprefix("holdfast.") for name in control_process if "holdfast." in name}
    others = {n for n in ours if n not in FOLDERS and not within(n, CONTROL_PROCESS)}
    assert not others
    assert not {name for name in ours if within(name, ("robot.sim",))}


def test_the_control_process_holds_no_other_actors_process(control_process: set[str]) -> None:
    """Of the modules in which the actors' classes live, only its own is imported."""
    modules_of_kinds = {place.partition(":")[0] for place in KINDS.values()}
    assert modules_of_kinds & control_process == {"holdfast.actors.control.loop"}


def within(name: str, rooms: Iterable[str]) -> bool:
    return any(name == room or name.startswith(f"{room}.") for room in rooms)


def test_no_two_classes_have_one_name() -> None:
    """A reader who searches for a class finds one."""
    places: dict[str, list[str]] = defaultdict(list)
    for path in sources():
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.ClassDef):
                places[node.name].append(str(path))
    assert {name: paths for name, paths in places.items() if len(paths) > 1} == {}


def test_no_two_modules_have_one_name_without_a_reason() -> None:
    """A module's name says where one is; SAME_MODULE_NAME holds the exceptions, and no more."""
    places: dict[str, list[str]] = defaultdict(list)
    for path in sources():
        if path.stem not in API:
            places[path.stem].append(str(path))
    twice = {name: paths for name, paths in places.items() if len(paths) > 1}
    assert set(twice) == set(SAME_MODULE_NAME), twice


def test_every_package_is_installed() -> None:
    """A wheel has what pyproject.toml lists: each folder with an __init__.py, and no other."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    listed = project["tool"]["setuptools"]["packages"]
    folders = {path.parent for path in sources() if path.name == "__init__.py"}
    assert sorted(listed) == sorted(".".join(("holdfast", *folder.parts)) for folder in folders)


def test_every_path_in_the_architecture_page_exists() -> None:
    """A link, or words in backticks that have the form of a path, name something in the tree."""
    page = ROOT / "docs" / "architecture.md"
    text = page.read_text()
    linked = [page.parent / target for target in re.findall(r"\]\(([^)#]+)\)", text)]
    named = [ROOT / word for word in re.findall(r"`([\w./-]+)`", text) if "/" in word]
    assert len(named) > 60
    assert [str(path) for path in linked + named if not path.exists()] == []


def test_the_architecture_page_shows_the_order_that_is_checked() -> None:
    """Its table has a row for each folder and module of ACTORS, with what it may import."""
    text = (ROOT / "docs" / "architecture.md").read_text()
    rows: dict[str, set[str]] = {}
    for names, below in re.findall(r"^\| (`actors/.*?) \|.*\| ([\w, ]*?) ?\|$", text, re.MULTILINE):
        for name in re.findall(r"`actors/(\w+)", names):
            rows[name] = set(filter(None, below.split(", ")))
    assert rows.pop("embedding") == {"all that it embeds"}
    assert rows == {name: set(below) for name, below in ACTORS.items() if name != "embedding"}


ACROSS = ("chaos", "e2e", "feetech", "fuzz", "hostile", "misbehaving", "peers", "properties")
"""Folders of tests about more than one room, or about what the tests themselves bring along."""


def test_a_folder_of_tests_mirrors_a_folder_of_the_package() -> None:
    """The tests of a room are found by its path; those of several rooms are in ACROSS."""
    tests = ROOT / "tests"
    folders = {path.parent.relative_to(tests) for path in tests.rglob("test_*.py")}
    assert [str(f) for f in folders if f.parts and f.parts[0] not in ACROSS and not _room(f)] == []


def _room(folder: Path) -> bool:
    """Whether the package has this folder, or a module in place of it."""
    return (ROOT / folder).is_dir() or (ROOT / folder).with_suffix(".py").is_file()
