"""Search for bytes that make a decoder fail, with atheris (libFuzzer for Python).

    python -m holdfast.tests.fuzz.fuzzer [--seconds 60] [--target NAME] [--corpus DIRECTORY]

Each target runs in a process of its own, for so many seconds, from the seeds in targets.py. A
finding is written to a file, and the exit status is 1; run it again by
`--target NAME --reproduce FILE`. `--corpus` keeps the corpora for the next run.

atheris is no dependency of Holdfast: `pip install atheris`. Without it only `--reproduce` runs.
"""

from __future__ import annotations

import argparse
import atexit
import importlib.util
import subprocess
import sys
import tempfile
from pathlib import Path

from holdfast.tests.fuzz.targets import TARGETS
from holdfast.tools.bench.figures import count, run

MAX_BYTES = 8192
MEMORY_MB = 2048
STUCK_S = 10
NOT_INSTALLED = (
    "atheris is not installed: `pip install atheris` (Linux, Python up to what its wheels are "
    "built for), or look at one input with --target NAME --reproduce FILE"
)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--seconds", type=count, default=60, help="for each target (60)")
    parser.add_argument("--target", choices=sorted(TARGETS), help="one of them; else all in turn")
    parser.add_argument("--corpus", type=Path, help="keep the corpora here, by target")
    parser.add_argument("--reproduce", type=Path, metavar="FILE", help="run one input, no more")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.reproduce is not None:
        if options.target is None:
            parser.error("--reproduce needs --target: the file does not say what it is for")
        with TARGETS[options.target].make() as run:
            run(options.reproduce.read_bytes())
        print(f"{options.target} takes {options.reproduce} well")
        return 0
    if importlib.util.find_spec("atheris") is None:
        print(NOT_INSTALLED, file=sys.stderr)
        return 2
    names = [options.target] if options.target else list(TARGETS)
    if options.worker:
        fuzz(options.target, options.corpus, options.seconds)
    return max([supervised(name, options.corpus, options.seconds) for name in names])


def supervised(name: str, kept: Path | None, seconds: int) -> int:
    """Fuzz one target in a process of its own; 0 if nothing was found."""
    print(f"== {name}: {TARGETS[name].about}, {seconds} s", flush=True)
    with tempfile.TemporaryDirectory(prefix="holdfast-fuzz-") as scratch:
        corpus = (kept or Path(scratch)) / name
        corpus.mkdir(parents=True, exist_ok=True)
        for n, seed in enumerate(TARGETS[name].seeds()):
            (corpus / f"seed-{n}").write_bytes(seed)
        command = [sys.executable, "-m", __spec__.name, "--worker", "--target", name]
        command += ["--corpus", str(corpus), "--seconds", str(seconds)]
        status = subprocess.run(command, check=False).returncode
    return 1 if status else 0


def fuzz(name: str, corpus: Path, seconds: int) -> None:
    """Never returns: libFuzzer ends the process, with a status other than 0 if it found one."""
    import atheris

    with atheris.instrument_imports(include=["holdfast.transport", "holdfast.actors"]):
        target = TARGETS[name].make()
        run = target.__enter__()
    atexit.register(target.__exit__, None, None, None)
    settings = {
        "max_total_time": seconds,
        "max_len": MAX_BYTES,
        "rss_limit_mb": MEMORY_MB,
        "timeout": STUCK_S,
        "artifact_prefix": f"fuzz-{name}-",
        "print_final_stats": 1,
        "verbosity": 0,
    }
    arguments = [f"-{setting}={value}" for setting, value in settings.items()]
    atheris.Setup([sys.argv[0], *arguments, str(corpus)], run)
    atheris.Fuzz()


if __name__ == "__main__":
    run(main)
