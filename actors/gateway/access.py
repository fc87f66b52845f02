"""Who may ask the gateway what; and the link that lets a person press its buttons.

- A browser on this machine may look. It must have addressed us by a loopback name: a web page
  whose own domain was re-pointed at 127.0.0.1 (DNS rebinding) still carries that domain.
- Commands need the token, in a header: no other site's page can add one to a request that it makes
  a browser send, and there is no cookie that a browser would add by itself.
- Other machines, if the gateway listens to them at all, get health and metrics and nothing else:
  what travels is not encrypted. `ssh -L` brings the page to them.

The token lies in `gateway.url` in the runtime directory (mode 0600), as the whole address to open.
It is in the address's fragment, which browsers do not send and servers do not log.
"""

from __future__ import annotations

import hmac
import ipaddress
import os
import secrets
from pathlib import Path
from urllib.parse import urlsplit

from .server import Request, Response, text

PUBLIC = ("/healthz", "/readyz", "/metrics")
_LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")
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
    shown = "127.0.0.1" if host in ("0.0.0.0", "::") else host
    url = f"http://{f'[{shown}]' if ':' in shown else shown}:{port}/#{token}"
    # Made anew under another name: neither a link nor a looser mode left by anyone is inherited.
    fresh = rundir / f"{_FILE}.{os.getpid()}"
    fresh.unlink(missing_ok=True)
    fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(fd, "w", encoding="ascii") as file:
        file.write(url + "\n")
    fresh.rename(rundir / _FILE)
    return url


class Access:
    """Holds the token; refuses what is not to be answered."""

    def __init__(self, token: str) -> None:
        self._token = token

    def refusal(self, request: Request) -> Response | None:
        """Why `request` is not answered; None if it is."""
        if request.path in PUBLIC and request.method in ("GET", "HEAD"):
            return None
        if not _is_loopback(request.peer):
            return text(
                403,
                "other machines get /healthz, /readyz and /metrics only: open the dashboard there "
                "through `ssh -L 8807:127.0.0.1:8807 THIS_HOST`",
            )
        host = request.headers.get("host", "")
        if _hostname(host) not in _LOOPBACK_NAMES:
            return text(
                421, f"addressed as {host!r}, expected localhost or 127.0.0.1: use one of these"
            )
        if request.method in ("GET", "HEAD"):
            return None
        origin = request.headers.get("origin")
        if origin is not None and origin != f"http://{host}":
            return text(403, f"the page at {origin} may not command this fleet")
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not hmac.compare_digest(
            token.strip().encode("latin-1"), self._token.encode()
        ):
            return text(
                401,
                "commands need this fleet's token: open the link that `actorctl status` prints",
            )
        return None


def _is_loopback(peer: str) -> bool:
    address = ipaddress.ip_address(peer.partition("%")[0])
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback


def _hostname(host: str) -> str | None:
    try:
        return urlsplit(f"//{host}").hostname
    except ValueError:
        return None
