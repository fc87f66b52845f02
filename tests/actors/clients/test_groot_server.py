"""The port for GR00T's clients: each version's client, and those that are hostile, slow or many.

The clients are `groot_client`, written from the protocol's description; those of published packages
are in `test_groot_clients`.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import pytest
import zmq

from holdfast.tests.actors.clients.conftest import Served, serve
from holdfast.tests.actors.clients.groot_client import (
    GrootClient,
    ModalityConfig,
    ServerSaidError,
    Version,
    raw,
    saved,
)
from holdfast.tests.waiting import wait_until

VERSIONS: tuple[Version, ...] = ("n1.5", "n1.6", "n1.7")
TEXT = "put the red parcel into the left bin"


def images(*batch: int) -> dict[str, Any]:
    """Videos of the shipped policies' cameras, one of another size than theirs."""
    overhead = np.zeros((*batch, 1, 96, 128, 3), np.uint8)
    return {"overhead": overhead, "wrist": np.zeros((*batch, 1, 120, 160, 3), np.uint8)}


def states(value: Any, *batch: int) -> dict[str, Any]:
    """A state which is this everywhere: the constant policy's actions are then this value too."""
    full = np.ones((*batch, 1, 1), np.float32) * np.float32(value)
    return {"single_arm": np.tile(full, 6), "gripper": full}


def n15(value: float = 0.0) -> dict[str, Any]:
    """An observation as N1.5's clients send it."""
    return {
        **{f"video.{key}": video for key, video in images().items()},
        **{f"state.{key}": state for key, state in states(value).items()},
        "annotation.human.action.task_description": [TEXT],
    }


def nested(*values: float) -> dict[str, Any]:
    """Observations as those of N1.6 and N1.7 do, one for each value."""
    rows = len(values)
    state = states(np.array(values).reshape(rows, 1, 1), rows)
    language = {"annotation.human.task_description": [[TEXT]] * rows}
    return {"video": images(rows), "state": state, "language": language}


def asked(client: GrootClient, value: float) -> dict[str, Any]:
    """The actions for an observation in the layout of the client's version, by key, [H, D]."""
    if client.version == "n1.5":
        found = client.get_action(n15(value))
        return {key.removeprefix("action."): part for key, part in found.items()}
    actions, info = client.get_action(nested(value))
    assert info == {}
    return {key: part[0] for key, part in actions.items()}


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A robot and GR00T's clients use one service."""
    robot = {
        "name": "r1",
        "service": "pick",
        "cameras": {name: {"width": 128, "height": 96} for name in ("overhead", "wrist")},
    }
    pick = {"policy": "constant", "checkpoint": "conveyor-flow", "max_sessions": 40}
    values = {"name": "grt", "services": {"pick": pick}, "robots": [robot]}
    yield from serve(tmp_path_factory.mktemp("port"), values, kind="groot")


@pytest.fixture(scope="module")
def slow_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One place, a chunk takes 0.25 s, a token is needed, a mapping, and clients of N1.5."""
    pick = {
        "policy": "constant",
        "checkpoint": "conveyor-flow",
        "max_sessions": 1,
        "options": {"delay_s": 0.25},
    }
    folder = tmp_path_factory.mktemp("slow_port")
    (folder / "groot.token").write_text("s3cret\n")
    mapping = {
        "cameras": {"overhead": "video.ego_view"},
        "state": {
            "state.base": ["belt_speed", "grip"],
            "state.arm": ["gripper", "x", "y", "z", "wrist"],
        },
        "action": {"action.hand": ["gripper"], "action.arm": ["z", "y", "x", "wrist"]},
        "language": "annotation.task",
    }
    yield from serve(
        folder,
        {"name": "grs", "services": {"pick": pick}},
        kind="groot",
        api_token="groot.token",  # noqa: S106 the name of a file
        dialect="n1.5",
        mapping=mapping,
    )


@pytest.mark.parametrize("version", VERSIONS)
def test_a_client_of_each_version_gets_actions_in_its_own_form(
    port: Served, version: Version
) -> None:
    """By key, float32 [48, D], of the very observation that it sent; also ping and reset."""
    with GrootClient(port.port, version) as client:
        assert client.call("ping") == {"status": "ok", "message": "Server is running"}
        for value in (1.0, 2.5):
            actions = asked(client, value)
            assert {key: part.shape for key, part in actions.items()} == {
                "single_arm": (48, 4),
                "gripper": (48, 1),
            }
            for part in actions.values():
                assert part.dtype == np.float32
                assert part.min() == part.max() == value
        if version != "n1.5":
            assert client.call("reset", {"options": None}) == {}
        assert asked(client, 3.0)["gripper"][0, 0] == 3.0


@pytest.mark.parametrize("version", VERSIONS[1:])
def test_the_modality_config_is_parsed_by_each_versions_client(
    port: Served, version: Version
) -> None:
    """Keys without the prefix, one step, a chunk's steps; to N1.5, after an action, as text."""
    with GrootClient(port.port, version) as client:
        found = client.call("get_modality_config")
    assert found == {
        "video": ModalityConfig([0], ["overhead", "wrist"]),
        "state": ModalityConfig([0], ["single_arm", "gripper"]),
        "action": ModalityConfig(list(range(48)), ["single_arm", "gripper"]),
        "language": ModalityConfig([0], ["annotation.human.task_description"]),
    }
    with GrootClient(port.port, "n1.5") as old:
        asked(old, 1.0)
        keys = old.call("get_modality_config")["state"].modality_keys
        assert keys == ["state.single_arm", "state.gripper"]


def test_a_batch_is_answered_row_by_row(port: Served) -> None:
    """Nested, in the simulation wrapper's flat keys, and in those of N1.5 with a batch."""
    with GrootClient(port.port) as client:
        actions, _ = client.get_action(nested(1.0, 2.0, 3.0))
        assert actions["single_arm"].shape == (3, 48, 4)
        assert actions["gripper"][:, 0, 0].tolist() == [1.0, 2.0, 3.0]
        parts = nested(4.0, 5.0)
        flat = {f"{each}.{key}": v for each in ("video", "state") for key, v in parts[each].items()}
        actions, _ = client.get_action({**flat, "annotation.human.coarse_action": [TEXT, TEXT]})
        assert actions["action.gripper"][:, 0, 0].tolist() == [4.0, 5.0]
        batched = client.call("get_action", {**flat, "annotation.x": [TEXT, TEXT]})
        assert batched["action.gripper"][:, 0, 0].tolist() == [4.0, 5.0]


def array(**fields: Any) -> dict[bytes, Any]:
    """An array as msgpack-numpy describes it, but for these fields."""
    return {**raw(np.zeros((1, 1), np.float32)), **{k.encode(): v for k, v in fields.items()}}


def state(value: Any) -> bytes:
    """A request whose gripper is this."""
    wrong: bytes = msgpack.packb({"endpoint": "get_action", "data": {"state.gripper": value}})
    return wrong


def npy(data: Any) -> dict[str, Any]:
    return {"__ndarray_class__": True, "as_npy": data}


PICKLED = saved(np.array([{}], object), allow_pickle=True)
GIGABYTE = saved(np.zeros(1, np.float32)).replace(b"(1,)", b"(1<<28,)")


@pytest.mark.parametrize(
    ("message", "why"),
    [
        (b"", "no MessagePack"),
        (b"\xc1", "no MessagePack"),
        (msgpack.packb([1, 2]), "a request is a map, list came"),
        (msgpack.packb("get_action"), "a request is a map, str came"),
        (msgpack.packb({"endpoint": "get_action"}), "NoneType came"),
        (msgpack.packb({"endpoint": "get_action", "data": {"observation": 7}}), "int came"),
        (msgpack.packb({"endpoint": ["x"]}), "Unknown endpoint"),
        (msgpack.packb({"endpoint": "kill"}), "clients do not end this server"),
        (state(npy("text")), "is str, expected bytes"),
        (state(npy(PICKLED)), "would have to be unpickled"),
        (state(array(type="|O", kind=b"O")), "would have to be unpickled"),
        (state(array(shape=[1 << 28])), "has 1073741824 bytes, and 4 came"),
        (state(npy(saved(np.zeros((1, 1)))[:-1])), "has 8 bytes, and 7 came"),
        (state("closed"), "no state.single_arm came"),
        (b"\xdd\xff\xff\xff\xff", "no MessagePack"),
    ],
)
def test_what_a_client_must_not_send_is_its_own_error(
    port: Served, message: bytes, why: str
) -> None:
    """An answer with the reason, after which the same client is served."""
    with GrootClient(port.port) as client:
        with pytest.raises(ServerSaidError) as said:
            client.exchange(message)
        assert why in str(said.value)
        assert asked(client, 4.0)["gripper"][0, 0] == 4.0


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"state": {"gripper": np.zeros((1, 1, 1))}}, "no state.single_arm came, but: gripper"),
        ({"state": {"single_arm": np.zeros((1, 1, 7))}}, r"expected [1, 1, 6] of numbers (x, y"),
        ({"state": {"single_arm": np.zeros((1, 6))}}, "float64[1, 6], expected [1, 1, 6]"),
        ({"state": {"single_arm": np.full((1, 1, 6), np.nan)}}, "not finite"),
        ({"state": {"single_arm": [["a"]]}}, "expected an array of numbers"),
        ({"video": {"wrist": np.zeros((1, 1, 9, 9, 3), np.float32)}}, "expected uint8"),
        ({"video": {"wrist": np.zeros((1, 2, 9, 9, 3), np.uint8)}}, "[1, 1, h, w, 3]"),
        ({"video": {"wrist": np.zeros((1, 9, 9, 3), np.uint8)}}, "[1, 1, h, w, 3]"),
        ({"video": {"wrist": [b"jpeg"]}}, "a list of 1 bytes"),
        ({"video": {"wrist": np.zeros((2, 1, 9, 9, 3), np.uint8)}}, "batches of 1, 2"),
        ({"language": {"annotation.x": [[b"pick"]]}}, "expected 1 of text"),
        ({"language": {"annotation.x": [["pick"]], "annotation.y": [["place"]]}}, "differ"),
        ({"language": "pick"}, "expected a map"),
    ],
)
def test_an_observation_that_does_not_fit_says_what_came_and_what_was_expected(
    port: Served, changes: dict[str, Any], why: str
) -> None:
    """Keys, dtypes and dimensions; a client that sends such a thing is served again."""
    with GrootClient(port.port) as client:
        wrong = nested(0.0)
        for modality, change in changes.items():
            whole = modality == "language" or "gripper" in change
            wrong[modality] = change if whole else {**wrong[modality], **change}
        with pytest.raises(ServerSaidError) as said:
            client.get_action(wrong)
        assert why in str(said.value)
        assert asked(client, 4.0)["gripper"][0, 0] == 4.0


def mapped() -> dict[str, Any]:
    """An observation in the keys of the slow port's mapping."""
    videos = images()
    return {
        "video.ego_view": videos["overhead"],
        "video.wrist": videos["wrist"],
        "state.base": np.array([[8.0, 9.0]]),
        "state.arm": np.array([[5.0, 1.0, 2.0, 3.0, 4.0]]),
        "annotation.task": TEXT,
    }


def test_the_mapping_says_which_value_is_whose(slow_port: Served) -> None:
    """Keys in the file's order, with the names in its order, and the dialect of N1.5."""
    with GrootClient(slow_port.port, "n1.5", "s3cret") as client:
        config = client.call("get_modality_config")
        assert config["video"].modality_keys == ["video.ego_view", "video.wrist"]
        assert config["action"].modality_keys == ["action.hand", "action.arm"]
        actions = client.get_action(mapped())
        assert actions["action.hand"][0].tolist() == [5.0]
        assert actions["action.arm"][0].tolist() == [3.0, 2.0, 1.0, 4.0]
    slow_port.without_clients()


@pytest.mark.parametrize("token", ["", "s3cre", "s3cret2", "\udcff"])
def test_a_client_without_the_token_gets_nothing_else(slow_port: Served, token: str) -> None:
    """Not even a ping, as of GR00T's own server, and in its words."""
    with GrootClient(slow_port.port) as client:
        for endpoint in ("ping", "get_modality_config", "kill", "get_action"):
            body = {"endpoint": endpoint, "api_token": token}
            packed = msgpack.packb(body, unicode_errors="surrogateescape")
            with pytest.raises(ServerSaidError, match=r"Unauthorized|no MessagePack"):
                client.exchange(packed)


def test_a_client_that_is_gone_in_mid_inference_frees_its_session(slow_port: Served) -> None:
    """The only place of the service is free as the connection ends, also between two requests."""
    for idle in (False, True):
        with GrootClient(slow_port.port, "n1.5", "s3cret") as first:
            first.socket.send(first.request("get_action", mapped()))
            wait_until(slow_port.sessions, "the session to begin", 10.0, 0.02)
            if idle:
                first.socket.recv()
        slow_port.without_clients()
    counters = slow_port.report("groot")["counters"]
    assert counters["gone-in-inference"] == 1
    with GrootClient(slow_port.port, "n1.5", "s3cret") as second:
        assert second.get_action(mapped())["action.hand"].shape == (48, 1)
    slow_port.without_clients()


@pytest.mark.slow
def test_a_service_without_room_is_an_error_that_says_so(slow_port: Served) -> None:
    """The second client of a service with one place gets the refusal's words, in time."""
    with (
        GrootClient(slow_port.port, "n1.5", "s3cret") as first,
        GrootClient(slow_port.port, "n1.5", "s3cret") as second,
    ):
        first.get_action(mapped())
        with pytest.raises(ServerSaidError) as said:
            second.get_action(mapped())
        assert "gave no chunk within 10 s" in str(said.value)
    slow_port.without_clients()


def test_many_clients_each_get_their_own_chunks(port: Served) -> None:
    """Sixteen at once, each with a state of its own, which its actions repeat."""
    wrong: list[Any] = []

    def ask(value: float) -> None:
        with GrootClient(port.port, VERSIONS[int(value) % 3]) as client:
            for step in range(5):
                sent = value + step / 8
                got = asked(client, sent)["single_arm"]
                if got.min() != sent or got.max() != sent:
                    wrong.append((sent, got))

    threads = [threading.Thread(target=ask, args=(float(k),)) for k in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert wrong == []
    port.without_clients()


def test_a_client_that_reads_nothing_holds_up_no_other(port: Served) -> None:
    """A DEALER asks and asks, its answers fill its own buffers, and others get theirs."""
    with zmq.Context() as context, GrootClient(port.port) as client:
        stuck = context.socket(zmq.DEALER)
        stuck.setsockopt(zmq.LINGER, 0)
        stuck.setsockopt(zmq.RCVHWM, 1)
        stuck.setsockopt(zmq.SNDTIMEO, 500)
        stuck.connect(f"tcp://127.0.0.1:{port.port}")
        big = [b"", client.request("get_action", nested(9.0))]
        for _ in range(40):
            try:
                stuck.send_multipart(big)
            except zmq.Again:
                break
        for step in range(5):
            assert asked(client, float(step))["gripper"][0, 0] == step
        stuck.send_multipart([b"no request"])
        stuck.close()


def test_a_message_beyond_the_bound_ends_its_connection_alone(port: Served) -> None:
    """A frame that declares a gigabyte is refused by its first bytes; others are served."""
    with GrootClient(port.port, timeout_s=0.5) as big, GrootClient(port.port) as client:
        big.call("ping")
        big.socket.send(bytes(33 << 20))
        with pytest.raises(zmq.Again):
            big.socket.recv()
        assert asked(client, 2.0)["gripper"][0, 0] == 2.0


@pytest.mark.slow
def test_broker_and_replica_may_be_killed_between_two_requests(tmp_path: Path) -> None:
    """A client notices a longer answer and nothing else, for as long as the model is the same."""
    pick = {"policy": "constant", "checkpoint": "conveyor-flow"}
    values = {"name": "grk", "services": {"pick": pick}}
    with (
        contextmanager(serve)(tmp_path, values, restarts=2, kind="groot") as served,
        GrootClient(served.port) as client,
    ):
        for value, actor in enumerate(("broker", "pick/0")):
            assert asked(client, value)["gripper"][0, 0] == value
            rows = {row["name"]: row for row in served.fleet.status()["actors"]}
            os.kill(rows[actor]["pid"], signal.SIGKILL)
            assert asked(client, value + 0.5)["gripper"][0, 0] == value + 0.5
        served.fleet.wait(60.0)


def test_two_hundred_connects_a_second_do_not_disturb_a_robot(port: Served) -> None:
    """The robot streams on without a stalled step; every connection is answered."""
    robot = port.fleet.wait(60.0)["robots"][0]
    began_s, made = time.monotonic(), 0
    while made < 600:
        with GrootClient(port.port) as client:
            client.call("ping")
        made += 1
        due_s = began_s + made / 200
        if (early_s := due_s - time.monotonic()) > 0:
            time.sleep(early_s)
    after = port.fleet.status()["robots"][0]
    assert after["state"] == "STREAMING"
    assert after["stalled_ticks"] == robot["stalled_ticks"]
