"""The port for GR00T's clients: each version's client, and those that are slow or many.

The clients are `groot_client`, written from the protocol's description; those of published packages
are in `test_groot_clients`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import pytest

from holdfast.actors.driver import emergency_stop
from holdfast.actors.runtime import robots_file
from holdfast.tests.actors.clients.conftest import Served, serve
from holdfast.tests.actors.clients.groot_client import (
    GrootClient,
    ModalityConfig,
    ServerSaidError,
    Version,
)
from holdfast.tests.actors.clients.groot_observations import (
    TEXT,
    VERSIONS,
    asked,
    images,
    nested,
)
from holdfast.tests.waiting import wait_until


@pytest.fixture(scope="module")
def slow_groot(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One place, a chunk takes 0.25 s, a token is needed, a mapping, and clients of N1.5."""
    pick = {
        "policy": "constant",
        "checkpoint": "conveyor-flow",
        "max_sessions": 1,
        "options": {"delay_s": 0.25},
    }
    folder = tmp_path_factory.mktemp("slow_groot")
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


def test_a_client_gets_an_error_while_its_stop_is_in_force_and_chunks_after_the_release(
    groot: Served,
) -> None:
    """A stop of its session's name: the robot of the fleet goes on. The connection stays."""
    groot.without_clients()
    fleets = robots_file.find(groot.fleet.name)
    with GrootClient(groot.port) as client:
        asked(client, 1.0)
        emergency_stop.stop(fleets, ["groot/1"], why="smoke")
        with pytest.raises(ServerSaidError, match=r"stopped by .*: smoke"):
            asked(client, 1.0)
        assert client.call("ping")["status"] == "ok"
        emergency_stop.release(fleets, ["groot/1"])
        asked(client, 1.0)
    groot.without_clients()


@pytest.mark.parametrize("version", VERSIONS)
def test_a_client_of_each_version_gets_actions_in_its_own_form(
    groot: Served, version: Version
) -> None:
    """By key, float32 [48, D], of the very observation that it sent; also ping and reset."""
    with GrootClient(groot.port, version) as client:
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
    groot: Served, version: Version
) -> None:
    """Keys without the prefix, one step, a chunk's steps; to N1.5, after an action, as text."""
    with GrootClient(groot.port, version) as client:
        found = client.call("get_modality_config")
    assert found == {
        "video": ModalityConfig([0], ["overhead", "wrist"]),
        "state": ModalityConfig([0], ["single_arm", "gripper"]),
        "action": ModalityConfig(list(range(48)), ["single_arm", "gripper"]),
        "language": ModalityConfig([0], ["annotation.human.task_description"]),
    }
    with GrootClient(groot.port, "n1.5") as old:
        asked(old, 1.0)
        keys = old.call("get_modality_config")["state"].modality_keys
        assert keys == ["state.single_arm", "state.gripper"]


def test_a_batch_is_answered_row_by_row(groot: Served) -> None:
    """Nested, in the simulation wrapper's flat keys, and in those of N1.5 with a batch."""
    with GrootClient(groot.port) as client:
        actions, _ = client.get_action(nested(1.0, 2.0, 3.0))
        assert actions["single_arm"].shape == (3, 48, 4)
        assert actions["gripper"][:, 0, 0].tolist() == [1.0, 2.0, 3.0]
        parts = nested(4.0, 5.0)
        flat = {f"{each}.{key}": v for each in ("video", "state") for key, v in parts[each].items()}
        actions, _ = client.get_action({**flat, "annotation.human.coarse_action": [TEXT, TEXT]})
        assert actions["action.gripper"][:, 0, 0].tolist() == [4.0, 5.0]
        batched = client.call("get_action", {**flat, "annotation.x": [TEXT, TEXT]})
        assert batched["action.gripper"][:, 0, 0].tolist() == [4.0, 5.0]


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


def test_the_mapping_says_which_value_is_whose(slow_groot: Served) -> None:
    """Keys in the file's order, with the names in its order, and the dialect of N1.5."""
    with GrootClient(slow_groot.port, "n1.5", "s3cret") as client:
        config = client.call("get_modality_config")
        assert config["video"].modality_keys == ["video.ego_view", "video.wrist"]
        assert config["action"].modality_keys == ["action.hand", "action.arm"]
        actions = client.get_action(mapped())
        assert actions["action.hand"][0].tolist() == [5.0]
        assert actions["action.arm"][0].tolist() == [3.0, 2.0, 1.0, 4.0]
    slow_groot.without_clients()


@pytest.mark.parametrize("token", ["", "s3cre", "s3cret2", "\udcff"])
def test_a_client_without_the_token_gets_nothing_else(slow_groot: Served, token: str) -> None:
    """Not even a ping, as of GR00T's own server, and in its words."""
    with GrootClient(slow_groot.port) as client:
        for endpoint in ("ping", "get_modality_config", "kill", "get_action"):
            body = {"endpoint": endpoint, "api_token": token}
            packed = msgpack.packb(body, unicode_errors="surrogateescape")
            with pytest.raises(ServerSaidError, match=r"Unauthorized|no MessagePack"):
                client.exchange(packed)


def test_a_client_that_is_gone_in_mid_inference_frees_its_session(slow_groot: Served) -> None:
    """The only place of the service is free as the connection ends, also between two requests."""

    def ask_and_leave(idle: bool = False) -> None:
        with GrootClient(slow_groot.port, "n1.5", "s3cret") as first:
            first.socket.send(first.request("get_action", mapped()))
            wait_until(slow_groot.sessions, "the session to begin", 60, 0.02)
            if idle:
                first.socket.recv()

    slow_groot.leave_in_inference(ask_and_leave)
    ask_and_leave(idle=True)
    slow_groot.without_clients()
    with GrootClient(slow_groot.port, "n1.5", "s3cret") as second:
        assert second.get_action(mapped())["action.hand"].shape == (48, 1)
    slow_groot.without_clients()


@pytest.mark.slow
def test_a_service_without_room_is_an_error_that_says_so(slow_groot: Served) -> None:
    """The second client of a service with one place gets the refusal's words, in time."""
    with (
        GrootClient(slow_groot.port, "n1.5", "s3cret") as first,
        GrootClient(slow_groot.port, "n1.5", "s3cret") as second,
    ):
        first.get_action(mapped())
        with pytest.raises(ServerSaidError) as said:
            second.get_action(mapped())
        assert "gave no chunk within 10 s" in str(said.value)
    slow_groot.without_clients()


def test_many_clients_each_get_their_own_chunks(groot: Served) -> None:
    """Sixteen at once, each with a state of its own, which its actions repeat."""
    wrong: list[Any] = []

    def ask(value: float) -> None:
        with GrootClient(groot.port, VERSIONS[int(value) % 3]) as client:
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
    groot.without_clients()


@pytest.mark.slow
def test_broker_and_replica_may_be_killed_between_two_requests(tmp_path: Path) -> None:
    """A client notices a longer answer and nothing else, for as long as the model is the same."""
    pick = {"policy": "constant", "checkpoint": "conveyor-flow"}
    values = {"name": "grk", "services": {"pick": pick}}
    with contextmanager(serve)(tmp_path, values, kind="groot") as served:

        def ask(kill: Callable[[], None]) -> bool:
            with GrootClient(served.port) as client:
                assert asked(client, 1.0)["gripper"][0, 0] == 1.0
                kill()
                try:
                    return bool(asked(client, 1.5)["gripper"][0, 0] == 1.5)
                except ServerSaidError:
                    return False

        for actor in ("broker", "pick/0"):
            served.survives(actor, ask)
