"""The port for GR00T's clients against what clients must not send, and against too many."""

from __future__ import annotations

from typing import Any

import msgpack
import numpy as np
import pytest
import zmq

from holdfast.tests.actors.clients.conftest import Served
from holdfast.tests.actors.clients.groot_client import GrootClient, ServerSaidError, raw, saved
from holdfast.tests.actors.clients.groot_observations import asked, nested


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
    groot: Served, message: bytes, why: str
) -> None:
    """An answer with the reason, after which the same client is served."""
    with GrootClient(groot.port) as client:
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
    groot: Served, changes: dict[str, Any], why: str
) -> None:
    """Keys, dtypes and dimensions; a client that sends such a thing is served again."""
    with GrootClient(groot.port) as client:
        wrong = nested(0.0)
        for modality, change in changes.items():
            whole = modality == "language" or "gripper" in change
            wrong[modality] = change if whole else {**wrong[modality], **change}
        with pytest.raises(ServerSaidError) as said:
            client.get_action(wrong)
        assert why in str(said.value)
        assert asked(client, 4.0)["gripper"][0, 0] == 4.0


def test_a_client_that_reads_nothing_holds_up_no_other(groot: Served) -> None:
    """A DEALER asks and asks, its answers fill its own buffers, and others get theirs."""
    with zmq.Context() as context, GrootClient(groot.port) as client:
        stuck = context.socket(zmq.DEALER)
        stuck.setsockopt(zmq.LINGER, 0)
        stuck.setsockopt(zmq.RCVHWM, 1)
        stuck.setsockopt(zmq.SNDTIMEO, 500)
        stuck.connect(f"tcp://127.0.0.1:{groot.port}")
        big = [b"", client.request("get_action", nested(9.0))]
        for _ in range(40):
            try:
                stuck.send_multipart(big)
            except zmq.Again:
                break
        for step in range(5):
            assert asked(client, float(step))["gripper"][0, 0] == step
        stuck.setsockopt(zmq.SNDTIMEO, 60_000)
        stuck.send_multipart([b"no request"])
        stuck.close()


def test_a_message_beyond_the_bound_ends_its_connection_alone(groot: Served) -> None:
    """A frame that declares a gigabyte is refused by its first bytes; others are served."""
    with GrootClient(groot.port) as big, GrootClient(groot.port) as client:
        big.call("ping")
        with big.socket.get_monitor_socket(zmq.EVENT_DISCONNECTED) as ended:
            big.socket.send(bytes(33 << 20))
            assert ended.poll(60_000), "its connection ends"
            big.socket.disable_monitor()
        assert asked(client, 2.0)["gripper"][0, 0] == 2.0


def test_two_hundred_connects_a_second_do_not_disturb_a_robot(groot: Served) -> None:
    """Of several bursts it streams on through one without a stalled step; all are answered."""

    def visit() -> None:
        with GrootClient(groot.port) as client:
            client.call("ping")

    groot.undisturbed_by(visit)
