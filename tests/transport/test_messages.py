"""Bodies and whole messages: what is decoded, and what is refused."""

from __future__ import annotations

import doctest
import resource
import timeit
from typing import Any

import msgpack
import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import inspect

from holdfast.errors import WireError
from holdfast.transport import bodies as bodies_module
from holdfast.transport.arrays import Buffer
from holdfast.transport.bodies import (
    BODIES,
    KINDS,
    Body,
    Close,
    Event,
    Heartbeat,
    Open,
    Reject,
    Reply,
    Request,
)
from holdfast.transport.header import Header, Kind
from holdfast.transport.limits import DEFAULT, Limits
from holdfast.transport.messages import Blobs, decode, encode
from holdfast.transport.stop_bodies import Lift, SiteStop, Stops


def strategy(kind: inspect.Type) -> st.SearchStrategy[Any]:
    """Any value of a field's type, within its constraints."""
    match kind:
        case inspect.IntType(ge=low, le=high, lt=under):
            top = high if high is not None else under - 1 if under is not None else 2**64 - 1
            return st.integers(low if low is not None else -(2**63), top)
        case inspect.FloatType(ge=low, gt=above, le=high):
            return st.floats(low if low is not None else above, high, exclude_min=low is None)
        case inspect.StrType(pattern=str(pattern)):
            return st.from_regex(pattern, fullmatch=True)
        case inspect.StrType(max_length=length):
            return st.text(max_size=min(length or 20, 20))
        case inspect.BoolType():
            return st.booleans()
        case inspect.NoneType():
            return st.none()
        case inspect.LiteralType(values=values):
            return st.sampled_from(values)
        case inspect.UnionType(types=types):
            return st.one_of(*map(strategy, types))
        case inspect.TupleType(item_types=items):
            return st.tuples(*map(strategy, items))
        case inspect.VarTupleType(item_type=item, max_length=length):
            return st.lists(strategy(item), max_size=min(length or 4, 4)).map(tuple)
        case inspect.DictType(key_type=key, value_type=value):
            return st.dictionaries(strategy(key), strategy(value), max_size=3)
        case inspect.StructType(cls=cls, fields=fields):
            return st.builds(cls, **{f.name: strategy(f.type) for f in fields})
        case _:
            raise NotImplementedError(kind)


bodies = st.sampled_from(list(BODIES.values())).flatmap(lambda b: strategy(inspect.type_info(b)))
numbers = st.integers(0, 2**32 - 1)
headers = st.tuples(numbers, numbers, numbers, numbers)
blobs = st.lists(st.binary(max_size=40), max_size=4)


@given(bodies, headers, blobs)
def test_every_message_survives_the_wire(
    body: Body, numbers: tuple[int, int, int, int], parts: list[Buffer]
) -> None:
    """Header, body and blobs decode to what was encoded."""
    header = Header(KINDS[type(body)], *numbers)
    message = decode([bytes(frame) for frame in encode(header, body, parts)])
    assert (message.header, message.body, message.blobs) == (header, body, parts)


@given(bodies, blobs)
def test_a_later_version_may_add_keys(body: Body, parts: list[Buffer]) -> None:
    """Unknown keys are ignored, whatever they hold."""
    header, packed, *rest = encode(Header(KINDS[type(body)]), body, parts)
    fields = msgpack.unpackb(packed) | {"added_in_v9": [{"deep": [1, None, b"x"]}], "b": 1.5}
    assert decode([header, msgpack.packb(fields), *rest]).body == body


@given(bodies)
def test_an_earlier_version_may_lack_optional_keys(body: Body) -> None:
    """Every key that has a default may be missing."""
    header, packed = encode(Header(KINDS[type(body)]), body)
    fields = {name: msgpack.unpackb(packed)[name] for name in required(type(body))}
    found = decode([header, msgpack.packb(fields)]).body
    for name in fields:
        assert getattr(found, name) == getattr(body, name)


def required(body: type[Any]) -> list[str]:
    info = inspect.type_info(body)
    assert isinstance(info, inspect.StructType)
    return [field.name for field in info.fields if field.required]


@pytest.mark.parametrize("body", [body for body in BODIES.values() if required(body)])
def test_a_missing_required_key_is_refused_by_its_name(body: type[Any]) -> None:
    """The WireError names the key, with the reason `body`."""
    with pytest.raises(WireError, match=required(body)[0]) as error:
        decode([Header(KINDS[body]).pack(), b"\x80"])
    assert error.value.reason == "body"


def use(frames: list[bytes]) -> None:
    """Decode and look at everything, as a receiver would."""
    message = decode(frames)
    body = message.body
    if isinstance(body, Request):
        for array in (body.state, body.prefix, body.prefix_robot):
            if array is not None:
                message.array(array)
        for image in body.images.values():
            message.image(image, {})
    if isinstance(body, Reply):
        message.array(body.chunk)
        message.array(body.chunk_model)


@given(bodies, blobs, st.data())
def test_a_damaged_message_is_a_message_or_a_wire_error(
    body: Body, parts: list[Buffer], data: st.DataObject
) -> None:
    """Mutated, cut, lost and exchanged frames never raise another exception."""
    frames = [bytearray(f) for f in encode(Header(KINDS[type(body)]), body, parts)]
    for _ in range(data.draw(st.integers(1, 4))):
        frame = data.draw(st.sampled_from(frames)) if frames else bytearray()
        match data.draw(st.sampled_from(["byte", "cut", "insert", "drop", "swap", "repeat"])):
            case "byte" if frame:
                frame[data.draw(st.integers(0, len(frame) - 1))] = data.draw(st.integers(0, 255))
            case "cut" if frame:
                del frame[data.draw(st.integers(0, len(frame) - 1)) :]
            case "insert":
                frame[data.draw(st.integers(0, len(frame))) :][:0] = data.draw(st.binary())
            case "drop" if frames:
                frames.pop(data.draw(st.integers(0, len(frames) - 1)))
            case "swap":
                frames.reverse()
            case "repeat":
                frames *= 2
    try:
        use([bytes(f) for f in frames])
    except WireError as error:
        assert error.reason


@given(st.lists(st.binary(max_size=60), max_size=5), st.sampled_from(Kind))
def test_any_frames_are_a_message_or_a_wire_error(frames: list[bytes], kind: Kind) -> None:
    """Random frames never raise another exception."""
    for candidate in (frames, [Header(kind).pack(), *frames]):
        try:
            use(candidate)
        except WireError as error:
            assert error.reason


@pytest.mark.parametrize(
    "packed",
    [
        b"\xdf\xff\xff\xff\xff",
        b"\x81\xa4tags\xdf\xff\xff\xff\xff\xa1a\xa1b",
        b"\x81\xacaction_names\xdd\xff\xff\xff\xff\xa1a",
        b"\x81\xa5robot\xdb\xff\xff\xff\xffabc",
        b"\x81\xa7unknown\xc6\xff\xff\xff\xffabc",
        b"\x81\xa7unknown\xdd\xff\xff\xff\xff\x01",
    ],
)
def test_a_huge_declared_size_allocates_nothing(packed: bytes) -> None:
    """It is refused without growth of the process."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(WireError) as error:
        decode([Header(Kind.OPEN).pack(), packed])
    assert error.value.reason == "body"
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100 << 10


@pytest.mark.parametrize("opening", [b"\x91", b"\x81\xa1x", b"\x81\x91"])
@pytest.mark.parametrize("depth", [DEFAULT.max_nesting + 1, 900, 20000])
def test_a_deeply_nested_body_is_refused(opening: bytes, depth: int) -> None:
    """The reason is `nesting`, also for a key that is unknown."""
    packed = b"\x82\xa4what\xa4lost\xa7unknown" + opening * depth + b"\x01"
    with pytest.raises(WireError) as error:
        decode([Header(Kind.EVENT).pack(), packed])
    assert error.value.reason == "nesting"


def test_an_unknown_key_nested_within_the_limit_is_skipped() -> None:
    """The body decodes as without the key."""
    packed = b"\x82\xa4what\xa4lost\xa7unknown" + b"\x91" * (DEFAULT.max_nesting - 1) + b"\x01"
    assert decode([Header(Kind.EVENT).pack(), packed]).body == Event(what="lost")


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"robot": "x" * (DEFAULT.max_name_chars + 1)}, "body"),
        ({"task": "x" * (DEFAULT.max_text_chars + 1)}, "body"),
        ({"action_names": ("x",) * (DEFAULT.max_items + 1)}, "body"),
        ({"tags": {str(k): "" for k in range(DEFAULT.max_items + 1)}}, "body"),
        ({"fps": float("nan")}, "body"),
        ({"fps": 0.0}, "body"),
        ({"cameras": {"top": (0, 1)}}, "body"),
        ({"control_mode": "torque"}, "body"),
    ],
)
def test_a_body_with_a_value_beyond_the_limits_is_refused(
    fields: dict[str, Any], reason: str
) -> None:
    """Lengths, counts and ranges of fields are checked; the reason is `body`."""
    valid = Open(
        robot="r1", service="s", action_names=("x",), state_names=("x",), cameras={}, fps=30
    )
    frames = encode(Header(Kind.OPEN), msgspec.structs.replace(valid, **fields))
    with pytest.raises(WireError) as error:
        decode(frames)
    assert error.value.reason == reason
    assert decode(encode(Header(Kind.OPEN), valid)).body == valid


@pytest.mark.parametrize(
    "body",
    [
        Stops(stops=(SiteStop(id="0" * 16 + "\n"),)),
        Stops(lifts=(Lift(stop="0" * 16 + "\n"),)),
        Stops(lifts=(Lift(stop="0" * 16, proof="00\n"),)),
    ],
)
def test_hexadecimal_digits_with_a_line_feed_are_refused(body: Stops) -> None:
    """One stop and one proof have one form."""
    with pytest.raises(WireError, match="regex"):
        decode(encode(Header(Kind.STOPS), body))


@pytest.mark.parametrize(
    ("frames", "reason"),
    [
        ([], "frames"),
        ([Header(Kind.RESET).pack()], "frames"),
        ([Header(Kind.RESET).pack(), b"\x80", *[b""] * 7], "frames"),
        ([Header(Kind.RESET).pack(), bytes(101)], "body-bytes"),
        ([Header(Kind.RESET).pack(), b"\x80", bytes(201)], "blob-bytes"),
        ([Header(Kind.RESET).pack(), b"\x80", bytes(200), bytes(200)], "message-bytes"),
        ([Header(Kind.RESET).pack(), b"\x80\x80"], "body"),
        ([Header(Kind.RESET).pack(), b""], "body"),
        ([Header(Kind.RESET).pack(), b"\xc1"], "body"),
    ],
)
def test_a_wrong_message_is_refused_by_a_reason(frames: list[bytes], reason: str) -> None:
    """The WireError's reason is the limit or part that is wrong."""
    limits = Limits(max_frames=8, max_body_bytes=100, max_blob_bytes=200, max_message_bytes=400)
    with pytest.raises(WireError) as error:
        decode(frames, limits)
    assert error.value.reason == reason


def test_a_body_under_the_wrong_kind_is_not_sent() -> None:
    """Encoding it raises WireError."""
    with pytest.raises(WireError, match="Close under a header RESET"):
        encode(Header(Kind.RESET), Close())


def test_the_example_of_vitals_runs() -> None:
    """Its docstring shows what the calls return."""
    done = doctest.testmod(bodies_module)
    assert done.attempted > 0
    assert done.failed == 0


def test_each_kind_has_one_body() -> None:
    """The table of bodies has every kind, and no body twice."""
    assert set(BODIES) == set(Kind)
    assert len(set(BODIES.values())) == len(BODIES)


def test_blobs_are_collected_while_a_body_is_written() -> None:
    """Array and image are read back from the collected blobs."""
    parts = Blobs()
    state = np.arange(5, dtype=np.float32)
    image = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    body = Request(state=parts.array(state), images={"top": parts.image(image)})
    message = decode(encode(Header(Kind.REQUEST, seq=7), body, parts))
    assert np.array_equal(message.array(message.body.state), state)
    assert np.array_equal(message.image(message.body.images["top"]), image)


def test_the_codec_costs_little_of_a_control_tick() -> None:
    """A request with state and both prefixes takes less than 100 µs there and back."""
    state, prefix = np.zeros(14, np.float32), np.zeros((50, 14), np.float32)

    def request() -> None:
        parts = Blobs()
        body = Request(
            state=parts.array(state),
            prefix=parts.array(prefix),
            prefix_robot=parts.array(prefix),
            task="put the red parcel in the left bin",
            frame_age_s={"top": 0.01, "wrist": 0.02},
        )
        message = decode(encode(Header(Kind.REQUEST), body, parts))
        message.array(message.body.state)
        message.array(message.body.prefix)
        message.array(message.body.prefix_robot)

    best = min(timeit.repeat(request, number=100, repeat=20)) / 100
    assert best < 100e-6


def test_a_small_message_stays_small() -> None:
    """A heartbeat and a rejection have few bytes of overhead."""
    assert len(encode(Header(Kind.HEARTBEAT), Heartbeat(progress=1))[1]) < 96
    assert len(encode(Header(Kind.REJECT), Reject(reason="full", message="come back"))[1]) < 120
