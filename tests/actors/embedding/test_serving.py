"""serve() in a script: what it refuses before it registers, and what a robot may do to it."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from holdfast import RemotePolicy
from holdfast.actors.broker.broker import BrokerActor
from holdfast.actors.runtime.actor import boot_in_memory
from holdfast.transport import sockets

HEAD = """
import sys, time
import numpy as np
from holdfast import Chunk, Observation, PolicySpec, serve

spec = PolicySpec(model="m", revision="1", cameras=(), state_names=("a",), action_names=("a",),
                  chunk_size=30, fps=30.0)

def chunks(arrays):
    return [Chunk(model=array, robot=array) for array in arrays]

def full(value, shape=(30, 1), dtype=np.float32):
    return np.full(shape, value, dtype)
"""


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[dict[str, str]]:
    """A broker in a thread; yields its endpoints."""
    ends = {end: sockets.ipc(tmp_path, end) for end in ("front", "back")}
    boot, inner, outer = boot_in_memory("broker", "broker", dict(ends), rundir=tmp_path)
    actor = BrokerActor(boot, inner)
    thread = threading.Thread(target=actor.main, daemon=True)
    thread.start()
    yield ends
    outer.command("stop")
    thread.join(5)
    outer.close()
    inner.close()


@contextmanager
def serving(tmp_path: Path, back: str, body: str) -> Iterator[subprocess.Popen[str]]:
    """A script that serves, in a process."""
    script = tmp_path / "serving_script.py"
    script.write_text(HEAD + body)
    process = subprocess.Popen(
        [sys.executable, script, back], cwd=tmp_path, stderr=subprocess.PIPE, text=True
    )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=20)


def robot(broker: dict[str, str], name: str, task: str = "") -> RemotePolicy:
    return RemotePolicy(
        "tasks",
        robot=name,
        task=task,
        action_names=["a"],
        state_names=["a"],
        cameras={},
        fps=30,
        broker=broker["front"],
    )


def until(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never came about"
        time.sleep(0.005)


WRONG = {
    "full(0, dtype=np.float64)": ["`model` is an array float64[30, 1]", "float32[30, 1]"],
    "full(0, (30, 32))": ["32 columns", "names 1 actions (a)"],
    "full(0, (20, 1))": ["20 steps", "chunk_size=30"],
    "full(np.nan)": ["not finite in 30 of 30 values"],
}


@pytest.mark.parametrize("values", WRONG)
def test_a_policy_whose_chunks_no_robot_could_play_is_refused_before_it_registers(
    values: str, tmp_path: Path
) -> None:
    """No broker is needed to find that out."""
    body = f"""
serve(lambda seen: chunks([{values}] * len(seen)), spec, service="tasks", broker=sys.argv[1])
"""
    with serving(tmp_path, f"ipc://{tmp_path}/nobody", body) as process:
        _, said = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "ServingFailedError" in said
    for words in WRONG[values]:
        assert words in said


TABLE = """
table = {"pick up the cup": 0.1, "open the drawer": 0.2}

def predict(seen):
    return chunks(full(table[o.task]) for o in seen)
"""


def test_a_policy_of_certain_tasks_is_told_how_to_be_warmed_up(tmp_path: Path) -> None:
    body = TABLE + 'serve(predict, spec, service="tasks", broker=sys.argv[1])'
    with serving(tmp_path, f"ipc://{tmp_path}/nobody", body) as process:
        _, said = process.communicate(timeout=60)
    assert process.returncode == 1
    for words in ("KeyError: ''", "default_task", "example="):
        assert words in said


@pytest.mark.parametrize(
    "given",
    [
        'default_task="open the drawer"',
        'pin_task="open the drawer"',
        'example=Observation(state=np.zeros(1, np.float32), images={}, task="open the drawer")',
    ],
)
def test_a_policy_of_certain_tasks_is_served(
    given: str, broker: dict[str, str], tmp_path: Path
) -> None:
    body = TABLE + f'serve(predict, spec, service="tasks", broker=sys.argv[1], {given})'
    task = "" if "task=" in given.partition("(")[0] else "open the drawer"
    with (
        serving(tmp_path, broker["back"], body),
        robot(broker, "r1", task) as policy,
    ):
        policy.wait(20)
        actions: list[np.ndarray] = []

        def played() -> bool:
            action = policy.act({"state": np.zeros(1, np.float32)})
            time.sleep(1 / 30)
            if action is not None:
                actions.append(action)
            return len(actions) > 3

        until(played)
        assert actions[0][0] == np.float32(0.2)


def test_a_robot_that_asks_for_what_the_policy_cannot_do_costs_another_nothing(
    broker: dict[str, str], tmp_path: Path
) -> None:
    """It is told why, in the policy's words; the other's plan never runs dry, and the process that
    serves both goes on."""
    body = (
        TABLE
        + """
serve(predict, spec, service="tasks", broker=sys.argv[1], max_batch=2,
      default_task="open the drawer")
"""
    )
    seen = {"state": np.zeros(1, np.float32)}
    with (
        serving(tmp_path, broker["back"], body) as process,
        robot(broker, "good", "pick up the cup") as good,
    ):
        good.wait(20)

        def streams() -> bool:
            good.act(seen)
            time.sleep(1 / 30)
            return good.state == "STREAMING"

        until(streams)
        with robot(broker, "bad", "make tea") as bad:
            bad.wait(20)
            began, held = time.monotonic(), 0
            while time.monotonic() < began + 4:
                held += good.act(seen) is None
                assert bad.act(seen) is None
                time.sleep(1 / 30)
            assert held == 0
            assert good.state == "STREAMING"
            until(lambda: bad.act(seen) is None and "KeyError: 'make tea'" in bad.reason)
        assert process.poll() is None
