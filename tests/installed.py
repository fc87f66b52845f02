"""The installed commands, as a user runs them."""

from __future__ import annotations

import sys
from pathlib import Path

BIN = Path(sys.executable).parent
INTERPRETER = (BIN / "actorctl").read_text().splitlines()[0].removeprefix("#!").strip()
"""The interpreter that the commands name in their first line: the same as this one, perhaps by
another name (python, python3)."""
