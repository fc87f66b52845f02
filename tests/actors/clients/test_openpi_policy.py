"""A running server of openpi as a policy: of the words of its own `WebsocketPolicyServer`."""

from __future__ import annotations

import asyncio
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import websockets.asyncio.server
from websockets.exceptions import ConnectionClosed

from holdfast.actors.clients.msgpack_arrays import pack, unpack
from holdfast.actors.clients.openpi_policy import OpenpiPolicy
from holdfast.errors import PolicyError
from holdfast.policy.base import Observation
from holdfast.tests.actors.clients.conftest import serve
from holdfast.tests.actors.fleet.files import faults
from holdfast.tests.free_ports import free_port

OPTIONS: dict[str, Any] = {
    "state_names": ["a", "b"],
    "action_names": ["a", "b"],
    "chunk_size": 3,
    "fps": 10.0,
    "cameras": {"observation/wrist_image": [8, 6]},
    "names": {"observation/wrist_image": "wrist"},
    "timeout_s": 60.0,
}


class Server:
    """A server with openpi's protocol in a thread of this process: each action is the state, plus
    the mean of the image. `slow_s` delays an answer."""

    def __init__(self, port: int = 0, metadata: str = "m", api_key: str = "") -> None:
        self.metadata, self.api_key = {"model": metadata}, api_key
        self.slow_s = 0.0
        self.asked: list[Any] = []
        self.authorized: list[str | None] = []
        self._loop = asyncio.new_event_loop()
        started = threading.Event()
        self._stopped = asyncio.Event()
        self.port = port or free_port()

        async def main() -> None:
            async with websockets.asyncio.server.serve(
                self._client, "127.0.0.1", self.port, compression=None, max_size=None
            ):
                started.set()
                await self._stopped.wait()

        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(main(),))
        self._thread.start()
        assert started.wait(60)

    @property
    def address(self) -> str:
        return f"ws://127.0.0.1:{self.port}"

    def close(self) -> None:
        """End it, and its connections. Idempotent."""
        if self._loop.is_closed():
            return
        self._loop.call_soon_threadsafe(self._stopped.set)
        self._thread.join(60)
        self._loop.close()

    async def _client(self, client: websockets.asyncio.server.ServerConnection) -> None:
        assert client.request is not None
        self.authorized.append(client.request.headers.get("Authorization"))
        await client.send(pack(self.metadata))
        while True:
            try:
                found = unpack(await client.recv())
                self.asked.append(found)
                state = found["observation/state"] + found["observation/wrist_image"].mean()
                await asyncio.sleep(self.slow_s)
                actions = np.tile(np.float64(state), (3 if found["prompt"] != "odd" else 2, 1))
                await client.send(pack({"actions": actions, "policy_timing": {"infer_ms": 1.0}}))
            except ConnectionClosed:
                return
            except Exception:  # noqa: BLE001 as openpi's server
                await client.send(traceback.format_exc())
                await client.close(1011)
                return


@contextmanager
def running(**options: Any) -> Iterator[Server]:
    server = Server(**options)
    try:
        yield server
    finally:
        server.close()


@contextmanager
def asking(server: Server, **options: Any) -> Iterator[OpenpiPolicy]:
    policy = OpenpiPolicy(server.address, **{**OPTIONS, **options})
    try:
        yield policy
    finally:
        policy.close()


def seen(value: float, task: str = "t") -> Observation:
    image = np.full((6, 8, 3), 2, np.uint8)
    return Observation(np.full(2, value, np.float32), {"wrist": image}, task)


def test_a_server_is_asked_in_its_own_keys_and_answers_with_chunks() -> None:
    """Each observation of a batch gets the chunk of its own state and image."""
    with running() as server, asking(server) as policy:
        assert [camera.name for camera in policy.spec.cameras] == ["wrist"]
        chunks = policy.predict_chunk([seen(1.0), seen(5.0)])
        assert [chunk.robot.tolist() for chunk in chunks] == [[[3.0] * 2] * 3, [[7.0] * 2] * 3]
        assert chunks[0].robot.dtype == np.float32
        assert set(server.asked[0]) == {"observation/wrist_image", "observation/state", "prompt"}
        assert server.asked[0]["prompt"] == "t"
        policy.predict_chunk([seen(1.0, task="")])
        assert server.asked[-1]["prompt"] == ""
    with running() as server, asking(server, prompt="") as policy:
        with pytest.raises(ValueError, match="KeyError: 'prompt'"):
            policy.predict_chunk([seen(1.0)])
        assert "prompt" not in server.asked[-1]


def test_a_state_is_sent_in_the_parts_that_the_server_takes() -> None:
    """DROID's servers take joints and gripper apart; parts that are not the whole are refused."""
    with running() as server:
        parts = {"observation/state": 1, "observation/gripper_position": 1}
        with asking(server, state=parts) as policy:
            observed = Observation(
                np.array([1, 2], np.float32), {"wrist": np.zeros((6, 8, 3), np.uint8)}, "t"
            )
            with pytest.raises(PolicyError):  # this server answers by the first part alone
                policy.predict_chunk([observed])
        assert server.asked[0]["observation/state"].tolist() == [1.0]
        assert server.asked[0]["observation/gripper_position"].tolist() == [2.0]
        with pytest.raises(PolicyError, match="expected 2 values in all"):
            OpenpiPolicy(server.address, **{**OPTIONS, "state": {"observation/state": 1}})


def test_a_server_that_was_restarted_is_asked_again() -> None:
    """The connection is made anew within the request, and counted."""
    with running() as first, asking(first) as policy:
        policy.predict_chunk([seen(1.0)])
        first.close()
        with running(port=first.port) as second:
            assert policy.predict_chunk([seen(2.0)])[0].robot[0, 0] == 4.0
            assert policy.reconnects == 1
            assert len(second.asked) == 1


def test_another_model_at_the_address_is_not_used() -> None:
    """Its metadata differ from those that the replica registered with."""
    with running() as first, asking(first) as policy:
        first.close()
        with running(port=first.port, metadata="other"), pytest.raises(PolicyError, match="other"):
            policy.predict_chunk([seen(2.0)])


def test_a_failing_request_fails_alone() -> None:
    """A traceback is a ValueError with its last words; the next request is served again."""
    with running() as server, asking(server) as policy:
        wrong = Observation(
            np.zeros(3, np.float32), {"wrist": np.zeros((6, 8, 3), np.uint8)}, "odd"
        )
        with pytest.raises(PolicyError, match="its actions are"):
            policy.predict_chunk([wrong])
    with running() as server, asking(server) as policy:
        robot = policy._robot
        policy._robot = msgspec.structs.replace(robot, cameras={"wrist": "observation/other"})
        with pytest.raises(ValueError, match="KeyError: 'observation/wrist_image'"):
            policy.predict_chunk([seen(1.0)])
        policy._robot = robot
        assert policy.predict_chunk([seen(1.0)])[0].robot[0, 0] == 3.0


def test_a_late_answer_is_never_taken_for_the_next_ones() -> None:
    """After the time is over the connection is left, with the answer on it."""
    with running() as server, asking(server) as policy:
        policy._timeout_s, server.slow_s = 0.5, 1.0
        with pytest.raises(TimeoutError, match=r"no answer within 0\.5 s"):
            policy.predict_chunk([seen(1.0)])
        policy._timeout_s, server.slow_s = 60.0, 0.0
        assert policy.predict_chunk([seen(2.0)])[0].robot[0, 0] == 4.0


def test_an_absent_server_is_an_error_that_a_restart_may_mend(tmp_path: Path) -> None:
    """An OSError, by which the replica is started again; a key is read from its file."""
    with pytest.raises(ConnectionError, match="is not reachable"):
        OpenpiPolicy(f"ws://127.0.0.1:{free_port()}", wait_s=1.0, **OPTIONS)
    (tmp_path / "k").write_text("s3cret\n")
    with running() as server, asking(server, api_key=str(tmp_path / "k")):
        assert server.authorized == ["Api-Key s3cret"]


def test_what_the_file_lacks_is_said_before_a_process_starts() -> None:
    """The address, and the options that no server of openpi says."""
    pick = {"policy": "openpi"}
    assert "address: missing" in faults({"services": {"pick": pick}})[0]
    named = {**pick, "address": "ws://127.0.0.1:1"}
    (fault,) = faults({"services": {"pick": named}})
    assert "state_names, action_names, chunk_size, fps: missing" in fault
    constant = {"policy": "constant", "checkpoint": "conveyor-flow", "address": "ws://x:1"}
    assert "has no effect" in faults({"services": {"pick": constant}})[0]


def test_a_clients_chunk_comes_through_a_fleet_from_the_server(tmp_path: Path) -> None:
    """`policy: openpi` in a fleet, whose own port serves a client: the server's answer is whole."""
    with running() as server:
        pick = {"policy": "openpi", "address": server.address, "options": OPTIONS}
        values = {"name": "opp", "services": {"pick": pick}}
        with contextmanager(serve)(tmp_path, values) as served, served.connect() as client:
            client.recv(60.0)
            wrist = np.full((6, 8, 3), 2, np.uint8)
            client.send(pack({"wrist": wrist, "state": [1.0, 2.0], "prompt": "go"}))
            answer = client.recv(60.0)
            assert isinstance(answer, bytes), answer
            assert unpack(answer)["actions"].tolist() == [[3.0, 4.0]] * 3
            assert server.asked[-1]["prompt"] == "go"
