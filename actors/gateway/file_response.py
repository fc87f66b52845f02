"""A file on disk as an HTTP response: whole, or the range of its bytes that was asked for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import BinaryIO

from ...errors import UnsatisfiableError
from . import byte_ranges
from .server import HttpRequest, HttpResponse, text

PIECE = 256 * 1024


async def respond(request: HttpRequest, path: Path, content_type: str) -> HttpResponse:
    """200, 206, 304 or 416. The file is read piece by piece while the client listens; a disk that
    is slow delays no other client. Raises OSError: no file, or not readable."""
    found = await asyncio.to_thread(path.stat)
    size = found.st_size
    tag = f'"{found.st_mtime_ns:x}-{size:x}"'
    headers = {"accept-ranges": "bytes", "etag": tag}
    if tag in [each.strip() for each in request.headers.get("if-none-match", "").split(",")]:
        return HttpResponse(304, b"", content_type, headers)
    try:
        # 14.2: a range is for GET only.
        span = byte_ranges.wanted(request.headers, size, tag) if request.method == "GET" else None
    except UnsatisfiableError:
        why = text(416, f"the file has {size} bytes").body
        return HttpResponse(416, why, headers={"content-range": f"bytes */{size}"})
    status = 200
    if span is not None:
        status = 206
        headers["content-range"] = f"bytes {span.start}-{span.stop - 1}/{size}"
    positions = range(size) if span is None else span
    headers["content-length"] = str(len(positions))
    return HttpResponse(status, _pieces(path, positions), content_type, headers)


async def _pieces(path: Path, positions: range) -> AsyncGenerator[bytes, None]:
    file = await asyncio.to_thread(path.open, "rb")
    try:
        at = positions.start
        while at < positions.stop:
            piece = await asyncio.to_thread(_read, file, at, min(PIECE, positions.stop - at))
            if not piece:
                # The length is announced already: only the end of the connection can say it.
                raise ConnectionAbortedError(f"{path} became shorter while it was sent")
            yield piece
            at += len(piece)
    finally:
        file.close()


def _read(file: BinaryIO, at: int, count: int) -> bytes:
    file.seek(at)
    return file.read(count)
