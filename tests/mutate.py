"""Runs mutmut over the pure cores, in a copy of the tree, and says which mutants survive.

    pip install mutmut
    python -m holdfast.tests.mutate FOLDER [holdfast/robot/limits.py ...]

FOLDER is made; the committed tree is copied into it (a mutant never touches the checkout). Without
files all of `mutation.toml` are mutated, in about half an hour on two idle cores. The survivors are
printed as diffs, then a table: mutants, killed, survived, and how many of the survivors change
nothing but the wording of a message, which no test holds fast word for word.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent
SETTINGS = Path(__file__).with_name("mutation.toml")
WORDING = re.compile(r"""^[-+]\s.*["'](XX)?[^"']* [^"']*["']""")
SURVIVED, UNTESTED = 0, 33


def main() -> None:
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    folder, files = Path(sys.argv[1]).resolve(), sys.argv[2:]
    copy(folder, files)
    subprocess.run(
        [sys.executable, "-m", "mutmut", "run", "--max-children", str(os.cpu_count())],
        cwd=folder,
        stdout=subprocess.DEVNULL,
        check=True,
    )
    report(folder)


def copy(folder: Path, files: list[str]) -> None:
    """The committed tree below folder/holdfast, and the settings where mutmut looks for them."""
    for part in ("holdfast", "mutants"):
        shutil.rmtree(folder / part, ignore_errors=True)
    (folder / "holdfast").mkdir(parents=True)
    tree = subprocess.run(
        ["git", "archive", "HEAD"], cwd=ROOT, check=True, capture_output=True
    ).stdout
    subprocess.run(["tar", "-x", "-C", folder / "holdfast"], input=tree, check=True)
    for machine in (folder / "holdfast/tests/properties").glob("*.py"):
        # A mutant that a machine's test finds at all it finds in its first runs.
        text = machine.read_text()
        machine.write_text(re.sub(r"max_examples=\d+, stateful", "max_examples=12, stateful", text))
    text = SETTINGS.read_text()
    if files:
        chosen = json.dumps(files)
        text = re.sub(r"only_mutate = \[.*?\]", f"only_mutate = {chosen}", text, flags=re.DOTALL)
    (folder / "pyproject.toml").write_text(text)


def report(folder: Path) -> None:
    """Print the survivors and the table."""
    os.chdir(folder)  # mutmut finds its settings and results in the working directory
    from mutmut.mutation.diff_apply import get_diff_for_mutant

    rows: list[tuple[str, list[int]]] = []
    for file in tomllib.loads(Path("pyproject.toml").read_text())["tool"]["mutmut"]["only_mutate"]:
        outcomes = json.loads(Path(f"mutants/{file}.meta").read_text())["exit_code_by_key"]
        alive = [name for name, code in outcomes.items() if code in (SURVIVED, UNTESTED)]
        wording = 0
        for name in alive:
            diff = get_diff_for_mutant(name)
            changed = [line for line in diff.splitlines()[2:] if line[:1] in "-+"]
            if all(WORDING.match(line) for line in changed):
                wording += 1
            else:
                print(f"{name}{' (no test reaches it)' * (outcomes[name] == UNTESTED)}\n{diff}")
        rows.append((file, [len(outcomes), len(outcomes) - len(alive), len(alive), wording]))
    rows.append(
        ("all", [sum(column) for column in zip(*(counts for _, counts in rows), strict=True)])
    )
    print(f"{'file':44} mutants  killed        survived  of wording")
    for file, (mutants, killed, survived, wording) in rows:
        share = f"{killed / mutants:.1%}"
        print(f"{file:44} {mutants:7} {killed:7} {share:>6} {survived:9} {wording:11}")


if __name__ == "__main__":
    main()
