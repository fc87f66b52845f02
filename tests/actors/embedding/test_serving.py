"""serve() in a script: what it refuses before it registers, and what a robot may do to it."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from holdfast import RemotePolicy
from holdfast.actors.control.plan import Floats
from holdfast.tests.waiting import wait_until

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
        process.communicate(timeout=300)


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


WRONG = {
    "full(0, dtype=np.float64)": ["`model` is an array float64[30, 1]", "float32[30, 1]"],
    "full(0, (30, 32))": ["32 columns", "names 1 actions (a)"],
    "full(0, (20, 1))": ["20 steps", "chunk_size=30"],
    "full(np.nan)": ["not finite in 30 of 30 values"],
}


@pytest.mark.parametrize("values", WRONG)
def test_a_policy_whose_chunks_cannot_be_played_is_refused_before_it_registers(
    values: str, tmp_path: Path
) -> None:
    """No broker is needed to find that out."""
    body = f"""
serve(lambda seen: chunks([{values}] * len(seen)), spec, service="tasks", broker=sys.argv[1])
"""
    with serving(tmp_path, f"ipc://{tmp_path}/nowhere", body) as process:
        _, output = process.communicate(timeout=300)
    assert process.returncode == 1
    assert "ServingFailedError" in output
    for words in WRONG[values]:
        assert words in output


TABLE = """
table = {"pick up the cup": 0.1, "open the drawer": 0.2}

def predict(seen):
    return chunks(full(table[o.task]) for o in seen)
"""


def test_a_policy_that_fails_its_warm_up_is_refused_with_the_remedies(tmp_path: Path) -> None:
    """The error has the policy's own and names default_task and example."""
    body = TABLE + 'serve(predict, spec, service="tasks", broker=sys.argv[1])'
    with serving(tmp_path, f"ipc://{tmp_path}/nowhere", body) as process:
        _, output = process.communicate(timeout=300)
    assert process.returncode == 1
    for words in ("KeyError: ''", "default_task", "example="):
        assert words in output


@pytest.mark.parametrize(
    "given",
    [
        'default_task="open the drawer"',
        'pin_task="open the drawer"',
        'example=Observation(state=np.zeros(1, np.float32), images={}, task="open the drawer")',
    ],
)
def test_a_policy_of_certain_tasks_is_served_with_one_of_them(
    given: str, broker: dict[str, str], tmp_path: Path
) -> None:
    """By default_task, pin_task or an example."""
    body = TABLE + f'serve(predict, spec, service="tasks", broker=sys.argv[1], {given})'
    task = "" if "task=" in given.partition("(")[0] else "open the drawer"
    with (
        serving(tmp_path, broker["back"], body),
        robot(broker, "r1", task) as policy,
    ):
        policy.wait(60)
        actions: list[Floats] = []

        def played() -> bool:
            action = policy.act({"state": np.zeros(1, np.float32)})
            time.sleep(1 / 30)
            if action is not None:
                actions.append(action)
            return len(actions) > 3

        wait_until(played, "actions")
        assert actions[0][0] == np.float32(0.2)


def test_a_robot_whose_task_fails_costs_another_robot_nothing(
    broker: dict[str, str], tmp_path: Path
) -> None:
    """It gets the policy's own error; the other's plan never runs dry."""
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
        good.wait(60)

        def streams() -> bool:
            good.act(seen)
            time.sleep(1 / 30)
            return good.state == "STREAMING"

        wait_until(streams, "the stream")
        with robot(broker, "bad", "make tea") as bad:
            bad.wait(60)
            deadline_s, acts, held = time.monotonic() + 60, 0, 0
            while acts - held < 100 and time.monotonic() < deadline_s:
                acts += 1
                held += good.act(seen) is None
                assert bad.act(seen) is None
                time.sleep(1 / 30)
            # A machine that pauses costs an action now and then; a robot in trouble would always.
            assert held < acts / 10
            wait_until(streams, "the stream")
            wait_until(lambda: bad.act(seen) is None and "KeyError: 'make tea'" in bad.reason)
        assert process.poll() is None
