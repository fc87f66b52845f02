"""The bytes of version 1 stay what they are: golden/*.json, each one message.

`frames` are the bytes in hex, `header` and `body` what they say, `arrays` and `images` what the
blobs hold. test_golden_independent.py reads the same files without our codec.

`open.json` is what the first release wrote, `open-2.json` what is written since keys were added,
and so on: the newest is what is written now, and each must still be read.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from holdfast.transport.arrays import Array
from holdfast.transport.bodies import (
    BODIES,
    Accept,
    ActorVitals,
    Body,
    Close,
    Demand,
    Drain,
    Error,
    Event,
    Heartbeat,
    Inquiry,
    Open,
    Register,
    Reject,
    Reply,
    Request,
    Reset,
    Verdict,
    Vitals,
    Welcome,
)
from holdfast.transport.frame_reference import FrameReference
from holdfast.transport.header import Header, Kind
from holdfast.transport.key_bodies import Enrol, Enrolled, Keys, PeerKey
from holdfast.transport.messages import Blobs, decode, encode
from holdfast.transport.outbox import Reference
from holdfast.transport.stop_bodies import HeldRobot, Lift, SiteStop, Stops

GOLDEN = Path(__file__).parent / "golden"
NAMES = ("x", "y", "gripper")


def ramp(*shape: int) -> NDArray[np.float32]:
    return (np.arange(np.prod(shape)).reshape(shape) / 4).astype(np.float32)


def red_then_blue() -> NDArray[np.uint8]:
    return np.array([[[255, 0, 0], [0, 0, 255]]], np.uint8)


def request(blobs: Blobs) -> Request:
    top = blobs.image(red_then_blue())
    in_outbox = Reference(2**62 + 1, 9, 64, 48, 64)
    wrist = blobs.reference(in_outbox, FrameReference(2**62 + 3, 7))
    return Request(
        state=blobs.array(ramp(3)),
        images={"top": top, "wrist": wrist},
        frame_age_s={"top": 0.0125, "wrist": 0.5},
        task="leg das rote Päckchen in die linke Kiste",
        delay_steps=4,
        prefix=blobs.array(ramp(2, 3)),
        prefix_robot=blobs.array(-ramp(2, 3)),
        slack_s=0.75,
        episode_start=True,
        seed=2**53 + 1,
        execution_horizon=12,
        guidance_schedule="linear",
        guidance_clip=4.5,
        state_history=blobs.array(ramp(2, 3)),
        image_history={
            "top": (top, top),
            "wrist": (blobs.reference(Reference(2**62 + 1, 9, 9280, 48, 64)), wrist),
        },
        history_age_s=(0.125, 0.0),
        episode_age_s=7.5,
    )


def reply(blobs: Blobs) -> Reply:
    return Reply(
        chunk_model=blobs.array(ramp(4, 3)),
        chunk=blobs.array(-ramp(4, 3)),
        queue_s=0.001,
        inference_s=0.05,
        batch=2,
        superseded=1,
        load=0.5,
        oldest_input_age_s=0.25,
        interval_s=1.5,
    )


BODY: dict[Kind, Any] = {
    Kind.OPEN: lambda _: Open(
        robot="r1",
        service="pick",
        action_names=NAMES,
        state_names=(*NAMES, "belt"),
        cameras={"top": (640, 480), "wrist": (320, 240)},
        fps=30.0,
        control_mode="position",
        rtc=True,
        task="put the red parcel in the left bin",
        tasks=("put the red parcel in the left bin",),
        tags={"site": "bench"},
        boot_id="6f1c/1000",
        outbox_nonce=2**62 + 1,
        incarnation=3,
        host="arm1",
        pid=777,
        kind="script",
        max_action_age_s=3.0,
        buffer_time_s=0.5,
        execution_horizon=12,
        guidance_schedule="exp",
        guidance_clip=5.0,
        observation_window_steps=30,
        move=2,
        holder="pick/1",
        session=2**53 - 1,
    ),
    Kind.ACCEPT: lambda _: Accept(
        session="r1#7",
        replica="pick/0",
        model="flow",
        revision="v1",
        checkpoint="sha256:00ff",
        chunk_size=50,
        fps=30.0,
        action_names=NAMES,
        cameras={"top": (96, 72)},
        prefix="trained",
        max_prefix_steps=12,
        shm=True,
        warnings=("camera wrist is not used",),
        limits={"max_blob_bytes": 1 << 25},
        pin_task="pick the red one",
        observation_steps=2,
        observation_stride_steps=4,
        direct="ipc:///run/user/1000/holdfast/demo/pick.0.direct",
        rings=("wrist",),
    ),
    Kind.REJECT: lambda _: Reject(
        reason="capacity",
        message="all 4 places are taken",
        final=False,
        retry_after_s=2.5,
        load=1.0,
        alternatives=("pick-large",),
    ),
    Kind.CLOSE: lambda _: Close(reason="stopped"),
    Kind.RESET: lambda _: Reset(),
    Kind.REQUEST: request,
    Kind.REPLY: reply,
    Kind.ERROR: lambda _: Error(reason="policy", message="state has 3 values, 4 are expected"),
    Kind.EVENT: lambda _: Event(what="draining", message="pick/0 is going"),
    Kind.HEARTBEAT: lambda _: Heartbeat(
        progress=12345,
        load=0.25,
        vitals=Vitals(
            state="STALLED",
            reason="no replica serves 'pick'",
            plan_s=0.5,
            fps=29.5,
            steps=9000,
            missed_steps=3,
            stalled_steps=12,
            refused=2,
            refusing_s=1.5,
            refusing="gripper: 3.2 is beyond 1.0",
            dropped={"expired": 4},
            latency_ms={"p50": 21.0, "p99": 40.25},
            warnings=("camera wrist is not used",),
            uplink={"request_bytes": 45000.0, "kbps": 312.5, "max_kbps": 400.0},
            uplink_limit="quality",
        ),
        elsewhere=2,
        actors=(
            ActorVitals(
                name="r1/driver",
                kind="driver",
                state="BACKOFF",
                pid=4711,
                restarts=2,
                up_s=12.5,
                progress_age_s=0.25,
                memory_mb=18.5,
                last_exit="killed by SIGKILL",
                reason="restart in 0.2 s",
            ),
        ),
        demand=Demand(
            requests=900,
            misses=3,
            superseded=7,
            offered=1.25,
            queue_ms={"p50": 4.5, "p95": 21.0},
        ),
        direct_answers=4200,
        direct_s=(0.0125, 0.25),
        stops="5f0c",
    ),
    Kind.INQUIRY: lambda blobs: Inquiry(open=BODY[Kind.OPEN](blobs)),
    Kind.VERDICT: lambda blobs: Verdict(accept=BODY[Kind.ACCEPT](blobs)),
    Kind.REGISTER: lambda _: Register(
        replica="pick/0",
        service="pick",
        capacity=4,
        model="flow",
        revision="v1",
        checkpoint="sha256:00ff",
        cameras={"top": (96, 72)},
        state_names=(*NAMES, "belt"),
        action_names=NAMES,
        chunk_size=50,
        fps=30.0,
        prefix="trained",
        max_prefix_steps=12,
        batch_s=(0.05, 0.08),
        host="gpu1",
        boot_id="6f1c/1000",
        pid=4242,
        incarnation=2,
        kind="fleet",
        contract="5f0c",
        pin_task="pick the red one",
        default_task="pick",
        strict_fps=True,
        observation_steps=2,
        observation_stride_steps=4,
        service_limit=6,
        load_s=12.5,
    ),
    Kind.WELCOME: lambda _: Welcome(broker="main", heartbeat_s=0.5),
    Kind.DRAIN: lambda _: Drain(reason="stop"),
    Kind.ENROL: lambda _: Enrol(name="pick/0", key="K" * 40),
    Kind.ENROLLED: lambda _: Enrolled(name="pick/0", brokers={"broker/hub": "B" * 40}),
    Kind.KEYS: lambda _: Keys(
        digest="00ff",
        start=1,
        total=3,
        keys=(
            PeerKey(key="K" * 40, name="pick/0", role="replica", enrolled_with="1a2b"),
            PeerKey(key="L" * 40, role="revoked"),
        ),
    ),
    Kind.STOPS: lambda _: Stops(
        stops=(
            SiteStop(
                id="00112233445566ff", robots=("r1", "r2"), by="anna@hub", why="smoke", at_s=1.5
            ),
            SiteStop(id="ff66554433221100", instead_of=("00112233445566ff", "11223344556677ff")),
        ),
        lifts=(
            Lift(
                stop="00112233445566ff",
                robots=("r1",),
                by="carla@hub",
                key="K" * 40,
                proof="0a" * 64,
            ),
        ),
        held=(
            HeldRobot(
                robot="r2",
                host="cell1",
                stops=("00112233445566ff",),
                confirmed=True,
                latched=True,
                seen="5f0c",
                message="the bus is silent",
            ),
        ),
    ),
}


def message(kind: Kind) -> tuple[Header, Body, Blobs]:
    blobs = Blobs()
    body = BODY[kind](blobs)
    return Header(kind, seq=2**40 + 7, episode=3, epoch=2, token=2**63 + 5), body, blobs


def document(kind: Kind) -> dict[str, Any]:
    """What a golden file holds for a message of `kind`."""
    header, body, blobs = message(kind)
    decoded = decode(encode(header, body, blobs))
    arrays = {
        name: decoded.array(value).tolist()
        for name in (
            "state",
            "state_history",
            "prefix",
            "prefix_robot",
            "chunk",
            "chunk_model",
        )
        if isinstance(value := getattr(body, name, None), Array)
    }
    images = {
        name: decoded.image(image).tolist()
        for name, image in getattr(body, "images", {}).items()
        if image.encoding != "shm"
    }
    return {
        "header": {**header._asdict(), "kind": kind.name},
        "body": msgspec.to_builtins(body),
        "arrays": arrays,
        "images": images,
        "frames": [bytes(frame).hex() for frame in encode(header, body, blobs)],
    }


def files(kind: Kind) -> list[Path]:
    """The golden files of `kind`, oldest first."""
    name = kind.name.lower()
    later = sorted(GOLDEN.glob(f"{name}-*.json"), key=lambda path: int(path.stem.split("-")[1]))
    return [GOLDEN / f"{name}.json", *later]


@pytest.mark.parametrize("kind", Kind)
def test_the_bytes_of_version_1_never_change(kind: Kind) -> None:
    """The newest golden file of each kind is what is written now; additions get a new file."""
    golden = json.loads(files(kind)[-1].read_text())
    assert golden == json.loads(json.dumps(document(kind)))


@pytest.mark.parametrize("kind", Kind)
def test_golden_bytes_are_read_as_their_contents(kind: Kind) -> None:
    """Files of all releases decode to what they list; later fields are at their defaults."""
    header, body, _ = message(kind)
    for path in files(kind):
        golden = json.loads(path.read_text())
        found = decode([bytes.fromhex(frame) for frame in golden["frames"]])
        assert found.header == header
        assert type(found.body) is type(body)
        said = json.loads(json.dumps(msgspec.to_builtins(found.body)))
        later = {
            field.name: field.default
            if field.default_factory is msgspec.NODEFAULT
            else field.default_factory()
            for field in msgspec.structs.fields(found.body)
            if field.name not in golden["body"]
        }
        assert {k: v for k, v in said.items() if k in later} == json.loads(json.dumps(later))
        assert _known(said, golden["body"]) == golden["body"]
    assert found.body == body


def _known(said: Any, wanted: Any) -> Any:
    """`said`, without the keys that `wanted` does not have, at any depth."""
    if isinstance(said, dict) and isinstance(wanted, dict):
        return {key: _known(said[key], value) for key, value in wanted.items()}
    if isinstance(said, list) and isinstance(wanted, list) and len(said) == len(wanted):
        return [_known(*each) for each in zip(said, wanted, strict=True)]
    return said


@pytest.mark.parametrize("kind", Kind)
def test_every_kind_has_a_golden_file(kind: Kind) -> None:
    """The message of each kind has the body of that kind."""
    assert type(message(kind)[1]) is BODIES[kind]


if __name__ == "__main__":  # writes the files of what is new; never changes one
    for new in Kind:
        known, written = files(new), json.loads(json.dumps(document(new)))
        if not known[0].exists():
            path = known[0]
        elif json.loads(known[-1].read_text()) != written:
            path = GOLDEN / f"{new.name.lower()}-{len(known) + 1}.json"
        else:
            continue
        path.write_text(json.dumps(written, indent=1, ensure_ascii=False) + "\n")
