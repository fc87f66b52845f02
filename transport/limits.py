"""`Limits`: the bounds of what a peer may send.

All of them are checked before memory is allocated for what they bound. Strings, maps and lists of a
body are bounded by the types in bodies.py, from `DEFAULT`.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Bounds for one message. Bytes unless the name says otherwise."""

    max_frames: int = 64
    """Parts of a multipart message, header and body included."""
    max_body_bytes: int = 64 * 1024
    max_blob_bytes: int = 32 * 1024 * 1024
    """Also what a socket accepts for any single part: a peer that sends more is disconnected."""
    max_message_bytes: int = 64 * 1024 * 1024
    max_images: int = 16
    max_image_width: int = 4096
    max_image_height: int = 4096
    max_image_pixels: int = 1 << 23
    max_jpeg_scans: int = 4
    """A baseline JPEG has 1, or 3; each more costs a pass over all pixels for a few bytes."""
    max_array_rank: int = 4
    max_array_items: int = 1 << 20
    max_nesting: int = 64
    """Maps and lists within each other in a body."""
    max_name_chars: int = 128
    """Names of robots, cameras, motors, services, models, ...; reasons."""
    max_text_chars: int = 2048
    """Tasks and messages for people."""
    max_items: int = 256
    """Entries of any list or map in a body."""


DEFAULT = Limits()
