"""Who may ask the gateway what.

- The page's files hold nothing of the fleet: every browser on this machine gets them.
- What the fleet does (status, pictures, events) and commands need the token, in a header: the
  runtime directory, where the token is, is this user's alone, and so is what it opens. No other
  site's page can add a header to a request that it makes a browser send, and there is no cookie
  that a browser would add by itself.
- A recorded video may also be asked for by a ticket in its address, which is for that path alone
  and comes with the token only: a browser's video element sends no header.
- Health is public, as ok or not; the reasons are for trusted clients: those that have the token, or
  are processes of this user or of root on this machine.
- Metrics are for trusted clients, or on this machine for `anyone` if fleet.yaml allows it.
- Other machines, if the gateway listens to them at all, get health and metrics and nothing else:
  what travels is not encrypted. `ssh -L` brings the page to them.
- A browser must have addressed us by a loopback name: a web page whose own domain was re-pointed at
  127.0.0.1 (DNS rebinding) still carries that domain.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import os
from typing import Literal
from urllib.parse import urlsplit

from .server import HttpRequest, HttpResponse, text
from .socket_owner import owner

HEALTH = ("/healthz", "/readyz")
METRICS = "/metrics"
_LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")

Audience = Literal["owner", "anyone"]


class Access:
    """Holds the token; refuses what is not to be answered."""

    def __init__(self, token: str, metrics: Audience = "owner") -> None:
        self._token = token
        self._metrics = metrics

    def refusal(self, request: HttpRequest) -> HttpResponse | None:
        """Why `request` is not answered; None if it is."""
        looks = request.method in ("GET", "HEAD")
        if looks and request.path in HEALTH:
            return None
        if looks and request.path == METRICS:
            return self._metrics_refusal(request)
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
        if looks and not request.path.startswith("/api/"):
            return None
        origin = request.headers.get("origin")
        if not looks and origin is not None and origin != f"http://{host}":
            return text(403, f"the page at {origin} may not command this fleet")
        if not self._has_token(request) and not (looks and self._has_ticket(request)):
            return text(
                401,
                "this needs the fleet's token, as `Authorization: Bearer TOKEN`: it is what comes "
                "after # in the link that `actorctl status` prints",
            )
        return None

    def ticket(self, path: str) -> str:
        """What opens `path` (decoded) for reading, as `?ticket=`, for as long as the token is in
        use."""
        return hmac.new(self._token.encode(), path.encode(), hashlib.sha256).hexdigest()

    def trusts(self, request: HttpRequest) -> bool:
        """Whether the client may see reasons and metrics: it has the token, or could read it."""
        if self._has_token(request):
            return True
        if not _is_loopback(request.peer) or request.ends is None:
            return False
        return owner(*request.ends) in (0, os.getuid())

    def _metrics_refusal(self, request: HttpRequest) -> HttpResponse | None:
        if self._metrics == "anyone" or not _is_loopback(request.peer) or self.trusts(request):
            return None
        return text(
            401,
            "on this machine the fleet's own user, root and clients with its token may read "
            "/metrics: scrape as one of them, or set `gateway.metrics: anyone` in fleet.yaml",
        )

    def _has_ticket(self, request: HttpRequest) -> bool:
        given = request.query.get("ticket", "").encode()
        return hmac.compare_digest(given, self.ticket(request.path).encode())

    def _has_token(self, request: HttpRequest) -> bool:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        return scheme.lower() == "bearer" and hmac.compare_digest(
            token.strip().encode("latin-1"), self._token.encode()
        )


def _is_loopback(peer: str) -> bool:
    address = ipaddress.ip_address(peer.partition("%")[0])
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback


def _hostname(host: str) -> str | None:
    try:
        return urlsplit(f"//{host}").hostname
    except ValueError:
        return None
