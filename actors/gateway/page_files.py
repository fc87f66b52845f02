"""The files of the page, which are part of the package."""

from __future__ import annotations

from pathlib import Path

from .server import HttpResponse

_FOLDER = Path(__file__).with_name("dashboard")
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
}


def pages(front: str = "index.html") -> dict[str, HttpResponse]:
    """Each by its path, and `front` at `/`; read once."""
    made = {
        f"/{file.name}": HttpResponse(200, file.read_bytes(), _TYPES[file.suffix])
        for file in _FOLDER.iterdir()
        if file.suffix in _TYPES
    }
    made["/"] = made[f"/{front}"]
    return made
