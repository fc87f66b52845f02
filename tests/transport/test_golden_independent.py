"""reference.md is enough to read the golden bytes: this client has only `struct` and `msgpack`.

Nothing of holdfast is imported here, on purpose.
"""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import msgpack
import pytest

GOLDEN = sorted((Path(__file__).parent / "golden").glob("*.json"))
KINDS = {
    1: "OPEN",
    2: "ACCEPT",
    3: "REJECT",
    4: "CLOSE",
    5: "RESET",
    6: "REQUEST",
    7: "REPLY",
    8: "ERROR",
    9: "EVENT",
    10: "HEARTBEAT",
    11: "INQUIRY",
    12: "VERDICT",
    32: "REGISTER",
    33: "WELCOME",
    34: "DRAIN",
    48: "ENROL",
    49: "ENROLLED",
    50: "KEYS",
    64: "STOPS",
}
ITEMS = {"f4": "f", "f8": "d", "i4": "i", "i8": "q", "u1": "B"}


def nested(flat: list[Any], shape: list[int]) -> Any:
    if len(shape) == 1:
        return flat
    step = len(flat) // shape[0]
    return [nested(flat[k * step : (k + 1) * step], shape[1:]) for k in range(shape[0])]


def array(described: dict[str, Any], blobs: list[bytes]) -> Any:
    count = 1
    for side in described["shape"]:
        count *= side
    flat = struct.unpack(f"<{count}{ITEMS[described['dtype']]}", blobs[described["blob"]])
    return nested(list(flat), described["shape"])


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_golden_bytes_are_read_without_our_codec(path: Path) -> None:
    """`struct` and `msgpack` read every golden file to what it lists."""
    golden = json.loads(path.read_text())
    header, body, *blobs = (bytes.fromhex(frame) for frame in golden["frames"])
    magic, version, kind, flags, seq, episode, epoch, token = struct.unpack("<4sBBHQIIQ", header)
    assert magic == b"HFST"
    assert golden["header"] == {
        "version": version,
        "kind": KINDS[kind],
        "flags": flags,
        "seq": seq,
        "episode": episode,
        "epoch": epoch,
        "token": token,
    }
    fields = msgpack.unpackb(body)
    assert fields == golden["body"]
    for name, expected in golden["arrays"].items():
        assert array(fields[name], blobs) == expected
    for name, expected in golden["images"].items():
        image = fields["images"][name]
        assert image["encoding"] == "raw"
        shape = [image["height"], image["width"], 3]
        assert array({"dtype": "u1", "shape": shape, "blob": image["blob"]}, blobs) == expected


def test_the_golden_files_have_all_kinds_of_version_1() -> None:
    """Each kind of the reference has a golden file."""
    assert {path.stem.split("-")[0].upper() for path in GOLDEN} == set(KINDS.values())


def test_a_raw_image_has_red_first() -> None:
    """The first pixel of the golden image is red, the second blue, in bytes."""
    path = next(path for path in GOLDEN if path.stem == "request")
    golden = json.loads(path.read_text())
    blob = bytes.fromhex(golden["frames"][2 + golden["body"]["images"]["top"]["blob"]])
    assert blob == bytes([255, 0, 0, 0, 0, 255])


def test_a_frame_in_a_cameras_ring_is_its_nonce_and_number() -> None:
    """Beside the reference to the place in the outbox where it is promised; ACCEPT names rings."""
    body = {
        path.stem: msgpack.unpackb(bytes.fromhex(json.loads(path.read_text())["frames"][1]))
        for path in GOLDEN
    }
    request, accept = body["request-3"], body["accept-5"]
    wrist = request["images"]["wrist"]
    assert wrist["frame"] == [2**62 + 3, 7]
    assert wrist["reference"] == [2**62 + 1, 9, 64, 48, 64]
    assert accept["rings"] == ["wrist"]
