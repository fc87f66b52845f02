"""RemotePolicy and serve in a script, around a real broker, in threads and processes."""

from __future__ import annotations

import json
import logging
import os
import re
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from holdfast import PlanSettings, PolicyLostError, PolicySpec, RemotePolicy, SafetySettings, serve
from holdfast.actors.control.plan import Floats
from holdfast.policy.base import CameraFeature, Chunk, Observation
from holdfast.tests.waiting import wait_until
from holdfast.transport import sockets

ACTIONS = ("x", "y")
STATES = ("x", "y", "speed")
SPEC = PolicySpec(
    model="counting",
    revision="1",
    cameras=(CameraFeature("top", 32, 24),),
    state_names=STATES,
    action_names=ACTIONS,
    chunk_size=20,
    fps=50.0,
)
SCRIPT = """
import sys
import numpy as np
from holdfast import Chunk, PolicySpec, serve
from holdfast.policy.base import CameraFeature

SPEC = PolicySpec(model="counting", revision="1", cameras=(CameraFeature("top", 32, 24),),
                  state_names=("x", "y", "speed"), action_names=("x", "y"), chunk_size=20, fps=50.0)

def predict(batch):
    steps = np.arange(20, dtype=np.float32)[:, None]
    chunks = [np.hstack((steps, steps * 0 + o.images["top"].mean())) for o in batch]
    return [Chunk(c.astype(np.float32), c.astype(np.float32)) for c in chunks]

serve(predict, SPEC, service="pick", broker=sys.argv[1])
"""


@pytest.fixture
def replica(broker: dict[str, str], tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The script that serves, in a process, next to files named as our packages are."""
    for name in ("policy.py", "robot.py", "transport.py", "actors.py", "tools.py"):
        (tmp_path / name).write_text("raise ImportError('a file of the user was imported')\n")
    (tmp_path / "serving_script.py").write_text(textwrap.dedent(SCRIPT))
    process = subprocess.Popen(
        [sys.executable, tmp_path / "serving_script.py", broker["back"]],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
    )
    yield process
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 0
    assert process.stderr is not None
    process.stderr.close()


def robot(broker: dict[str, str], name: str | None = "script", **options: Any) -> RemotePolicy:
    return RemotePolicy(
        "pick",
        robot=name,
        action_names=ACTIONS,
        state_names=STATES,
        cameras={"top": (64, 48)},
        fps=50.0,
        broker=broker["front"],
        **options,
    )


def observation(level: int = 100) -> dict[str, object]:
    return {
        "state": np.zeros(3, np.float32),
        "images": {"top": np.full((48, 64, 3), level, np.uint8)},
    }


def streams(policy: RemotePolicy) -> None:
    """Call `act` until the policy is STREAMING."""
    wait_until(
        lambda: policy.act(observation()) is not None and policy.state == "STREAMING", "the stream"
    )


def first_action(policy: RemotePolicy) -> Floats:
    """Call `act` until there is an action."""

    def action() -> tuple[Floats] | None:
        found = policy.act(observation())
        return None if found is None else (found,)

    return wait_until(action, "an action")[0]


def test_a_script_plays_what_another_script_serves(broker: dict[str, str], replica: object) -> None:
    """Actions come in order, from pixels that travelled."""
    with robot(broker, plan=PlanSettings(merge="append")) as policy:
        policy.wait(60)
        played: list[Floats] = []
        deadline_s = time.monotonic() + 60
        while len(played) < 60 and time.monotonic() < deadline_s:
            action = policy.act(observation())
            if action is not None:
                played.append(action)
            time.sleep(0.02)
        assert len(played) == 60
        assert policy.latency_ms["p50"] is not None
        assert all(action[1] == 100 for action in played)
        steps = np.array([action[0] for action in played])
        # Chunks that are appended are played to their ends.
        assert np.array_equal(steps % 20, np.arange(60) % 20)
        streams(policy)


def test_an_action_is_a_copy(broker: dict[str, str], replica: object) -> None:
    """Writing to it does not write into the plan."""
    with robot(broker, plan=PlanSettings(merge="append")) as policy:
        policy.wait(60)
        action = first_action(policy)
        action[:] = -1
        following = policy.act(observation())
        assert following is not None
        assert following[0] == 1


def test_waiting_for_a_service_without_a_replica_fails_with_the_reason(
    broker: dict[str, str],
) -> None:
    """`act` returns None while no replica serves."""
    with robot(broker) as policy:
        assert policy.act(observation()) is None

        def reason() -> bool:
            with pytest.raises(TimeoutError) as waited:
                policy.wait(1.0)
            return "no replica serves 'pick'" in str(waited.value)

        wait_until(reason, "the reason")


def test_an_observation_that_does_not_fit_is_refused_by_name(broker: dict[str, str]) -> None:
    """ValueError with the names of the state, or the camera and its shape."""
    with robot(broker) as policy:
        with pytest.raises(ValueError, match="x, y, speed"):
            policy.act({"state": np.zeros(2), "images": {}})
        with pytest.raises(ValueError, match=r"camera top.*\(48, 64, 3\)"):
            policy.act({"state": np.zeros(3), "images": {"top": np.zeros((4, 4, 3), np.uint8)}})


def test_a_service_that_stays_away_ends_the_policy_for_good(
    broker: dict[str, str], replica: subprocess.Popen[bytes]
) -> None:
    """PolicyLostError after max_offline_s without a chunk."""
    with robot(broker, safety=SafetySettings(max_offline_s=5.0)) as policy:
        policy.wait(60)
        first_action(policy)
        deadline_s = time.monotonic() + 60
        replica.send_signal(signal.SIGSTOP)
        try:
            with pytest.raises(PolicyLostError, match="max_offline_s"):
                while time.monotonic() < deadline_s:
                    policy.act(observation())
                    time.sleep(0.02)
        finally:
            replica.send_signal(signal.SIGCONT)


def test_a_plain_function_without_a_spec_is_not_served() -> None:
    """ValueError says how to pass one."""
    with pytest.raises(ValueError, match="spec=PolicySpec"):
        serve(predict, service="pick", broker="x")


def predict(batch: Sequence[Observation]) -> list[Chunk]:
    chunk = np.zeros((20, 2), np.float32)
    return [Chunk(chunk, chunk) for _ in batch]


class Serving:
    """`serve` in a thread of this process."""

    def __init__(self, broker: str, **options: Any) -> None:
        self.stop = threading.Event()
        self.failure: BaseException | None = None
        self._options: dict[str, Any] = {
            "service": "pick",
            "broker": broker,
            "stop": self.stop,
            **options,
        }
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            serve(predict, SPEC, **self._options)
        except BaseException as failure:  # noqa: BLE001 the test looks at it
            self.failure = failure

    def end(self) -> None:
        self.stop.set()
        self._thread.join(60)
        assert not self._thread.is_alive()
        assert self.failure is None


def test_a_thread_serves_until_its_event_is_set_and_logs_what_happens(
    broker: dict[str, str], caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    """Signal handlers stay; robot and replica leave a line for each request."""
    caplog.set_level(logging.INFO)
    handler = signal.getsignal(signal.SIGINT)
    serving = Serving(broker["back"], name="pick/mine", audit=tmp_path / "replica")
    with robot(broker, audit=tmp_path / "robot") as policy:
        policy.wait(60)
        first_action(policy)
        wait_until(lambda: "serves robot script, 1 in all" in caplog.text, "the robot's name")
    assert f"ready, registered with the broker at {broker['back']}" in caplog.text
    assert "holdfast.pick/mine" in caplog.text
    wait_until(lambda: "robot script has left, 0 in all" in caplog.text, "the robot's end")
    serving.end()
    assert signal.getsignal(signal.SIGINT) is handler
    (asked,) = (tmp_path / "robot").rglob("script.network.jsonl")
    (served,) = (tmp_path / "replica").rglob("pick.mine.jsonl")
    lines = [json.loads(path.read_text().splitlines()[0]) for path in (asked, served)]
    assert len({(line["session"], line["seq"]) for line in lines}) == 1, "they can be joined"


def test_a_replica_without_a_broker_logs_the_address_that_it_waits_for(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It goes on until it is stopped."""
    nowhere = sockets.ipc(tmp_path, "nowhere")
    serving = Serving(nowhere)
    try:
        logged = re.compile(rf"not registered: .*{re.escape(nowhere)}")
        wait_until(lambda: serving.failure or logged.search(caplog.text), "the broker's address")
    finally:
        serving.end()


def test_a_robot_without_a_broker_has_the_address_in_its_reason(tmp_path: Path) -> None:
    """`wait` raises TimeoutError with it."""
    nowhere = {"front": sockets.ipc(tmp_path, "nowhere")}
    with robot(nowhere) as policy:
        wait_until(lambda: policy.act(observation()) is None and policy.reason, "a reason")
        assert nowhere["front"] in policy.reason
        with pytest.raises(TimeoutError, match=re.escape(nowhere["front"])):
            policy.wait(0.2)


def test_a_program_without_logging_reads_on_stderr_that_it_serves(
    broker: dict[str, str], replica: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    """Readiness, and each robot that comes."""
    with robot(broker) as policy:
        policy.wait(60)
    replica.send_signal(signal.SIGINT)
    assert replica.stderr is not None
    output = replica.stderr.read().decode()
    assert "holdfast.pick/" in output and ": ready, registered with the broker" in output
    assert "serves robot script" in output


def test_two_robots_without_a_name_do_not_take_each_others_session(
    broker: dict[str, str], replica: object
) -> None:
    """Each has a unique name, also within one process."""
    with robot(broker, None) as first, robot(broker, None) as second:
        for policy in (first, second):
            policy.wait(60)
        for policy in (first, second, first):
            streams(policy)


def test_a_forked_child_does_not_close_its_parents_policy(
    broker: dict[str, str], replica: object
) -> None:
    """`close` does nothing there, `act` raises RuntimeError."""
    with robot(broker) as policy:
        policy.wait(60)
        child = os.fork()
        if not child:
            try:
                policy.close()
                policy.act(observation())
            except RuntimeError:
                os._exit(7)
            finally:
                os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
        first_action(policy)
        assert policy._loop.worker.alive
        assert policy._loop.worker.directory.exists()


def test_importing_holdfast_imports_neither_torch_nor_zmq_nor_opencv() -> None:
    """A robot's computer has no torch, and a script pays only for what it uses."""
    code = "import sys, holdfast; assert not {'torch', 'zmq', 'cv2'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
