"""`RemotePolicy` in a script, around a real broker, beside another script that serves."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from holdfast import PlanSettings, PolicyLostError, SafetySettings
from holdfast.actors.control.plan import Floats
from holdfast.tests.actors.embedding.two_scripts import (
    first_action,
    observation,
    robot,
    streams,
)
from holdfast.tests.waiting import wait_until
from holdfast.transport import sockets


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


def test_a_robot_without_a_broker_has_the_address_in_its_reason(tmp_path: Path) -> None:
    """`wait` raises TimeoutError with it."""
    nowhere = {"front": sockets.ipc(tmp_path, "nowhere")}
    with robot(nowhere) as policy:
        wait_until(lambda: policy.act(observation()) is None and policy.reason, "a reason")
        assert nowhere["front"] in policy.reason
        with pytest.raises(TimeoutError, match=re.escape(nowhere["front"])):
            policy.wait(0.2)


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
