"""What a benchmark prints with `--json`."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any


def report_of(name: str, *words: str, timeout_s: float) -> dict[str, Any]:
    """The report of the benchmark `name`, run with `words`; one that fails says on what."""
    argv = [sys.executable, "-m", f"holdfast.tools.bench.{name}", "--json", *words]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=timeout_s)
    assert done.returncode == 0, (
        f"{name} ended with {done.returncode}: {done.stderr[-4000:]} {done.stdout[-4000:]}"
    )
    report: dict[str, Any] = json.loads(done.stdout)
    assert report["bench"] == name
    assert report["machine"]["cpus"]
    return report
