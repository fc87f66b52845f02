"""The link that opens the dashboard with its buttons enabled, in the runtime directory.

`gateway.url` (mode 0600) is the whole address. The token is its fragment, which browsers do not
send and servers do not log. Light: every `actorctl status` reads it.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from urllib.parse import urlsplit

_FILE = "gateway.url"


def one_click(rundir: Path) -> str | None:
    """The address that opens the dashboard with its buttons enabled; None if there is none."""
    try:
        return (rundir / _FILE).read_text(encoding="ascii").strip() or None
    except (OSError, UnicodeDecodeError):
        return None


def last_known(rundir: Path) -> tuple[int | None, str]:
    """Port and token of the previous incarnation, so that an open page outlives it; else no port
    and a new token."""
    parts = urlsplit(one_click(rundir) or "")
    try:
        return parts.port, parts.fragment or secrets.token_urlsafe(32)
    except ValueError:
        return None, secrets.token_urlsafe(32)


def publish(rundir: Path, host: str, port: int, token: str) -> str:
    """Write the one-click address for this user alone; return it."""
    shown = "127.0.0.1" if host in ("0.0.0.0", "::") else host  # noqa: S104 only shown
    url = f"http://{f'[{shown}]' if ':' in shown else shown}:{port}/#{token}"
    # Made anew under another name: neither a link nor a looser mode left by anyone is inherited.
    fresh = rundir / f"{_FILE}.{os.getpid()}"
    fresh.unlink(missing_ok=True)
    fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(fd, "w", encoding="ascii") as file:
        file.write(url + "\n")
    fresh.rename(rundir / _FILE)
    return url
