"""The environments of the peers: interpreters with other projects' own packages, in one folder.

One that `tests/peers/install` has made is used; one that is missing is made, by the interpreter of
its version and pip, which download what `ENVIRONMENTS` names.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from ..peer_program import ROOT

_INSTALL_S = 1800.0


class PeerPackages(NamedTuple):
    """What an environment has: packages of PyPI, for a version of Python."""

    python: str
    packages: tuple[str, ...]


ENVIRONMENTS = {
    "lerobot-0.6": PeerPackages("3.12", ("lerobot[async,dataset]==0.6.1",)),
    "openpi": PeerPackages(
        "3.11", ("openpi-client==0.1.2", "openpi-server==0.1.0", "pillow==11.2.1")
    ),
    "zenoh": PeerPackages("3.11", ("eclipse-zenoh==1.10.2",)),
    "ray": PeerPackages("3.11", ("ray==2.60.0",)),
}


def peers_folder(named: Path | None) -> Path:
    """Where the environments are: `named`, $HOLDFAST_PEERS, .peers of a checkout that has it, or
    the user's cache."""
    if named is not None:
        return named
    if given := os.environ.get("HOLDFAST_PEERS"):
        return Path(given)
    if (ROOT / ".peers").is_dir():
        return ROOT / ".peers"
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "holdfast" / "peers"


def interpreter(name: str, folder: Path, say: Callable[[str], None] | None) -> str:
    """The interpreter of the environment `name` below `folder`, which is made if it is missing;
    `say` is called with what is downloaded, None: nothing may be. Raises RuntimeError, which says
    what is missing."""
    place = folder / name
    python = place / "bin" / "python"
    if (place / "complete").is_file():
        return str(python)
    wanted = ENVIRONMENTS[name]
    packages = " ".join(wanted.packages)
    if say is None:
        raise RuntimeError(
            f"{folder} has no {name}: run without --no-install, which gets {packages}"
        )
    by = shutil.which(f"python{wanted.python}")
    if by is None:
        raise RuntimeError(
            f"{packages} needs Python {wanted.python}, and no python{wanted.python} is here"
        )
    say(f"{name}: downloading {packages} into {place}")
    shutil.rmtree(place, ignore_errors=True)
    _run([by, "-m", "venv", str(place)])
    # What Holdfast's own modules of the programs import.
    _run([str(python), "-m", "pip", "install", "-q", *wanted.packages, "numpy"])
    (place / "complete").write_text(f"{wanted.python} {packages}\n")
    return str(python)


def _run(argv: list[str]) -> None:
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=_INSTALL_S)
    if done.returncode:
        last = (done.stderr.strip() or "no words").splitlines()[-1]
        raise RuntimeError(f"{' '.join(argv[:5])} ... ended with {done.returncode}: {last}")
