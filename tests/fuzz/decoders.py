"""The decoders of bytes that come from another machine or from a file.

Each is a context manager that gives the function to call with any bytes. The function returns also
when the decoder refuses them as documented; every exception is a fault. Modules of Holdfast are
imported when it is entered, so that the fuzzer can instrument them.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from holdfast.errors import FleetError, KeyFileError, WireError
from holdfast.tests.fuzz.framing import unpack

Run = Callable[[bytes], None]


@contextlib.contextmanager
def header() -> Iterator[Run]:
    from holdfast.transport.header import SIZE, Header

    def run(data: bytes) -> None:
        with contextlib.suppress(WireError):
            assert Header.unpack(data[:SIZE]).pack() == data[:SIZE]

    yield run


@contextlib.contextmanager
def message() -> Iterator[Run]:
    from holdfast.transport import messages
    from holdfast.transport.arrays import Array
    from holdfast.transport.images import Image
    from holdfast.transport.limits import DEFAULT

    def run(data: bytes) -> None:
        try:
            found = messages.decode(unpack(data))
        except WireError:
            return
        body = found.body
        again = messages.decode(messages.encode(found.header, body, found.blobs))
        # By what it says: a NaN does not equal itself.
        assert repr(again.body) == repr(body)
        for name in body.__struct_fields__:
            value = getattr(body, name)
            with contextlib.suppress(WireError):
                if isinstance(value, Array):
                    assert found.array(value).size <= DEFAULT.max_array_items
            for image in value.values() if isinstance(value, dict) else ():
                with contextlib.suppress(WireError):
                    if isinstance(image, Image):
                        assert found.image(image).shape == (image.height, image.width, 3)

    yield run


@contextlib.contextmanager
def jpeg() -> Iterator[Run]:
    from holdfast.transport.images import decode_jpeg, jpeg_size
    from holdfast.transport.limits import Limits

    limits = Limits(max_image_pixels=1 << 20)

    def run(data: bytes) -> None:
        with contextlib.suppress(WireError):
            width, height = jpeg_size(data)
            if 0 < width * height <= limits.max_image_pixels:
                assert decode_jpeg(data, width, height, limits).shape == (height, width, 3)

    yield run


@contextlib.contextmanager
def identity() -> Iterator[Run]:
    from holdfast.actors.broker.peers import label
    from holdfast.transport import sockets
    from holdfast.transport.keys import Role

    def run(data: bytes) -> None:
        assert label(data).isprintable()
        for user in ("", "robot:r1"):
            with contextlib.suppress(WireError):
                name, incarnation = sockets.peer(data, user, Role.ROBOT)
                assert name and incarnation >= 0

    yield run


@contextlib.contextmanager
def key() -> Iterator[Run]:
    from holdfast.transport import keys

    def run(data: bytes) -> None:
        path.write_bytes(data)
        for load in (keys.load, keys.load_public):
            with contextlib.suppress(KeyFileError):
                assert len(load(path).public) == 40

    with tempfile.TemporaryDirectory(prefix="holdfast-fuzz-") as directory:
        path = Path(directory, "fuzz.key")
        path.touch(mode=0o600)
        yield run


@contextlib.contextmanager
def fleet() -> Iterator[Run]:
    from holdfast.actors.fleet.loading import loads

    def run(data: bytes) -> None:
        try:
            loads(data.decode(errors="replace"))
        except FleetError as error:
            assert error.faults, "refused without a reason"

    yield run
