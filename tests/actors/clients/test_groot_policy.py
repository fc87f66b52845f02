"""A running server of GR00T as a policy: of each version, lost, late, wrong, and in a fleet."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from holdfast.actors.clients.groot_policy import GrootPolicy
from holdfast.errors import PolicyError
from holdfast.policy.base import Observation
from holdfast.tests.actors.clients.conftest import Served, serve
from holdfast.tests.actors.clients.groot_client import GrootClient, Version
from holdfast.tests.actors.clients.groot_stand_in import GrootStandIn, standing_in
from holdfast.tests.actors.fleet.files import faults
from holdfast.tests.free_ports import free_port
from holdfast.tests.waiting import wait_until

OPTIONS: dict[str, Any] = {
    "state": {"arm": ["a", "b"], "hand": ["grip"]},
    "action": {"hand": ["grip"], "action.arm": ["a", "b"]},
    "cameras": {"video.front": [8, 6]},
    "names": {"front": "top"},
    "fps": 10.0,
    "timeout_s": 60.0,
}


@contextmanager
def asking(server: GrootStandIn, **options: Any) -> Iterator[GrootPolicy]:
    policy = GrootPolicy(server.address, **{**OPTIONS, **options})
    try:
        yield policy
    finally:
        policy.close()


def patience(policy: GrootPolicy, timeout_s: float) -> None:
    """How long an answer to it may take from now on."""
    options = msgspec.structs.replace(policy._options, timeout_s=timeout_s)
    policy._options = policy._server._options = options


def seen(*state: float) -> Observation:
    image = np.full((6, 8, 3), 2, np.uint8)
    return Observation(np.array(state, np.float32), {"top": image}, "t")


@pytest.mark.parametrize("version", ["n1.5", "n1.6", "n1.7"])
def test_a_server_of_each_version_is_asked_in_its_own_keys_and_form(version: Version) -> None:
    """Its horizon and names become the spec; each chunk is that of its own observation."""
    with standing_in(version=version) as server, asking(server) as policy:
        spec = policy.spec
        assert (spec.chunk_size, spec.fps, spec.by_count) == (3, 10.0, False)
        assert [camera.name for camera in spec.cameras] == ["top"]
        assert spec.state_names == ("a", "b", "grip")
        assert spec.action_names == ("grip", "a", "b")
        chunks = policy.predict_chunk([seen(1.0, 2.0, 3.0), seen(5.0, 6.0, 7.0)])
        assert [chunk.robot.tolist() for chunk in chunks] == [
            [[5.0, 3.0, 4.0]] * 3,
            [[9.0, 7.0, 8.0]] * 3,
        ]
        assert chunks[0].robot.dtype == np.float32
        data = server.asked[-1]["data"]
        language = data if version == "n1.5" else data["observation"]["language"]
        text = ["t"] if version == "n1.5" else [["t"]]
        assert language["annotation.human.task_description"] == text


def test_earlier_observations_go_where_the_server_wants_them() -> None:
    """Its delta indices become observation steps, which its video has, and its state has not."""
    with standing_in(video_steps=(-4, 0)) as server, asking(server) as policy:
        assert policy.spec.observation_steps == 2
        assert policy.spec.observation_stride_steps == 4
        policy.predict_chunk([policy.spec.example()])
        observation = server.asked[-1]["data"]["observation"]
        assert observation["video"]["front"].shape == (1, 2, 6, 8, 3)
        assert observation["state"]["arm"].shape == (1, 1, 2)
        with pytest.raises(ValueError, match="observation_steps: 1"):
            GrootPolicy(server.address, **OPTIONS, chunk_size=3)


def test_names_may_have_another_order_than_the_servers_keys() -> None:
    """That of the robots; the parts that the server gets and gives are the same."""
    order = {"state_names": ["grip", "b", "a"], "action_names": ["b", "grip", "a"]}
    with standing_in() as server, asking(server, **order) as policy:
        assert policy.spec.state_names == ("grip", "b", "a")
        chunk = policy.predict_chunk([seen(3.0, 2.0, 1.0)])[0]
        assert server.asked[-1]["data"]["observation"]["state"]["arm"].tolist() == [[[1.0, 2.0]]]
        assert chunk.robot[0].tolist() == [4.0, 5.0, 3.0]


def test_values_that_are_only_counted_take_the_robots_names() -> None:
    """By count, with placeholders; names for some and counts for others are refused."""
    counts = {"state": {"arm": 2, "hand": 1}, "action": {"arm": 2, "hand": 1}}
    with standing_in() as server:
        with asking(server, **counts) as policy:
            assert policy.spec.by_count
            assert policy.spec.state_names == ("state_0", "state_1", "state_2")
            assert policy.predict_chunk([seen(1, 2, 3)])[0].robot[0].tolist() == [3.0, 4.0, 5.0]
        with pytest.raises(ValueError, match="name all"):
            GrootPolicy(server.address, **{**OPTIONS, "state": {"arm": 2, "hand": ["grip"]}})


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"state": {"arm": ["a", "b"]}}, "state: the server needs hand too"),
        ({"action": {"leg": ["a"]}}, "action: the server has no leg, but arm, hand"),
        ({"cameras": {}, "names": {}}, "cameras: the server needs front too"),
        ({"chunk_size": 16}, "chunk_size: 16, the server's chunks have 3"),
        ({"names": {"fornt": "top"}}, "names: 'fornt' is no key of `cameras`"),
        ({"state": 7}, "state"),
        ({"action_names": ["a", "b", "c"]}, "action_names: a, b, c, expected those of `action`"),
        ({"horizon": 7}, "horizon"),
        ({"timeout_s": 0}, "timeout_s"),
    ],
)
def test_options_that_the_server_contradicts_are_refused_by_name(
    options: dict[str, Any], why: str
) -> None:
    """What it has and needs is said, at the start of the replica."""
    with standing_in() as server, pytest.raises(ValueError, match=why):
        GrootPolicy(server.address, **{**OPTIONS, **options})


def test_a_server_that_was_restarted_is_asked_again() -> None:
    """At once, also where the connection was lost while it was answering."""
    with standing_in() as first, asking(first) as policy:
        policy.predict_chunk([seen(1, 2, 3)])
        first.close()
        with standing_in(port=first.port) as second:
            began_s = time.monotonic()
            assert policy.predict_chunk([seen(2, 2, 3)])[0].robot[0, 1] == 4.0
            assert time.monotonic() - began_s < 30
            assert [request["endpoint"] for request in second.asked] == [
                "get_modality_config",
                "get_action",
            ]


def test_another_model_at_the_address_is_not_used() -> None:
    """Its horizon differs from that with which the replica registered."""
    with standing_in() as first, asking(first) as policy:
        first.close()
        with (
            standing_in(port=first.port, horizon=4),
            pytest.raises(PolicyError, match="another one now"),
        ):
            policy.predict_chunk([seen(1, 2, 3)])


def test_a_failing_request_fails_alone() -> None:
    """The server's own error is a ValueError; an answer that does not fit names what came."""
    with standing_in() as server, asking(server) as policy:
        server.wrong = {"error": "out of memory"}
        with pytest.raises(ValueError, match="failed: out of memory"):
            policy.predict_chunk([seen(1, 2, 3)])
        good = np.zeros((1, 3, 2), np.float32)
        for wrong, why in (
            ([{"arm": good[:, :2], "hand": good[..., :1]}, {}], r"arm is \(2, 2\), expected"),
            ([{"hand": good[..., :1]}, {}], "action.arm is NoneType"),
            ("ok", "str, expected a map"),
            ([{"arm": "text", "hand": good[..., :1]}, {}], "action.arm is str"),
        ):
            server.wrong = wrong
            with pytest.raises(PolicyError, match=why):
                policy.predict_chunk([seen(1, 2, 3)])
        server.wrong = None
        assert policy.predict_chunk([seen(1, 2, 3)])[0].robot[0, 0] == 5.0


def test_a_late_answer_is_never_taken_for_the_next_ones() -> None:
    """After the time is over the connection is left, with the answer on it."""
    with standing_in() as server, asking(server) as policy:
        patience(policy, 0.5)
        server.slow_s = 0.8
        with pytest.raises(TimeoutError, match=r"no answer within 0\.5 s"):
            policy.predict_chunk([seen(1, 2, 3)])
        server.slow_s = 0.0
        patience(policy, 60.0)
        wait_until(lambda: server.idle, "the late answer", 60, 0.05)
        assert policy.predict_chunk([seen(2, 2, 3)])[0].robot[0, 1] == 4.0


def test_an_absent_server_is_an_error_that_a_restart_may_mend(tmp_path: Path) -> None:
    """An OSError, by which the replica is started again; a token is read from its file."""
    with pytest.raises(ConnectionError, match="is not reachable: nothing listens there"):
        GrootPolicy(f"tcp://127.0.0.1:{free_port()}", wait_s=1.0, **OPTIONS)
    (tmp_path / "t").write_text("s3cret\n")
    with standing_in(token="s3cret") as server:  # noqa: S106 not a real one
        with asking(server, api_token=str(tmp_path / "t")) as policy:
            policy.predict_chunk([seen(1, 2, 3)])
        with pytest.raises(PolicyError, match="does it need `api_token`"):
            GrootPolicy(server.address, **OPTIONS)


def test_an_episode_is_passed_on_where_the_server_knows_them() -> None:
    """N1.6 has an endpoint for it, N1.5 none."""
    with standing_in() as server, asking(server, serving_mode="exclusive") as policy:
        assert policy.spec.stateful
        policy.reset()
        assert server.asked[-1] == {"endpoint": "reset", "data": {"options": None}}
    with standing_in(version="n1.5") as server, asking(server) as policy:
        policy.reset()
        assert server.asked[-1] == {"endpoint": "get_modality_config"}


def test_what_the_file_lacks_is_said_before_a_process_starts() -> None:
    """The address, the options that no server says, and a server that is needed and away."""
    pick: dict[str, Any] = {"policy": "groot"}
    assert "add `address: tcp://host:port`" in faults({"services": {"pick": pick}})[0]
    pick["address"] = "ws://127.0.0.1:1"
    assert "expected tcp://host:port for policy groot" in faults({"services": {"pick": pick}})[0]
    pick["address"] = f"tcp://127.0.0.1:{free_port()}"
    (fault,) = faults({"services": {"pick": pick}})
    assert "state, action, fps: missing" in fault
    pick["options"] = OPTIONS
    (fault,) = faults({"services": {"pick": pick}})
    assert "chunk_size: missing, and the server that would say it does not answer" in fault


CHAIN: dict[str, Any] = {
    "chunk_size": 48,
    "fps": 30.0,
    "cameras": {"overhead": [128, 96], "wrist": [128, 96]},
    "state": {
        "single_arm": ["x", "y", "z", "wrist", "belt_speed", "grip"],
        "gripper": ["gripper"],
    },
    "action": {"gripper": ["gripper"], "single_arm": ["x", "y", "z", "wrist"]},
    "state_names": ["x", "y", "z", "wrist", "gripper", "belt_speed", "grip"],
    "action_names": ["x", "y", "z", "wrist", "gripper"],
}


@pytest.fixture(scope="module")
def chained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A robot is driven by a policy whose server is the port of the same fleet."""
    folder = tmp_path_factory.mktemp("chained")
    port = free_port()
    robot = {
        "name": "r1",
        "service": "far",
        "cameras": {name: {"width": 128, "height": 96} for name in ("overhead", "wrist")},
    }
    services = {
        "pick": {"policy": "constant", "checkpoint": "conveyor-flow"},
        "far": {"policy": "groot", "address": f"tcp://127.0.0.1:{port}", "options": CHAIN},
    }
    values = {"name": "grc", "services": services, "robots": [robot]}
    yield from serve(folder, values, kind="groot", port=port)


def test_a_robot_is_driven_through_a_chain_of_both(chained: Served) -> None:
    """Port and policy in one fleet: the robot streams, and its chunks came by the port."""
    robot = chained.fleet.wait(60.0)["robots"][0]
    assert robot["state"] == "STREAMING"

    def replies() -> int:
        return int(chained.report("groot")["counters"].get("replies", 0))

    before = replies()
    wait_until(lambda: replies() > before + 2, "chunks", 60, 0.1)
    with GrootClient(chained.port) as client:
        assert client.call("ping")["status"] == "ok"
