"""Who may ask the gateway what.

- A browser on this machine may look. It must have addressed us by a loopback name: a web page
  whose own domain was re-pointed at 127.0.0.1 (DNS rebinding) still carries that domain.
- Commands need the token, in a header: no other site's page can add one to a request that it makes
  a browser send, and there is no cookie that a browser would add by itself.
- Other machines, if the gateway listens to them at all, get health and metrics and nothing else:
  what travels is not encrypted. `ssh -L` brings the page to them.
"""

from __future__ import annotations

import hmac
import ipaddress
from urllib.parse import urlsplit

from .server import Request, Response, text

PUBLIC = ("/healthz", "/readyz", "/metrics")
_LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")


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
