"""`serve` in a script, around a real broker, in a thread and in a process."""

from __future__ import annotations

import json
import logging
import re
import signal
import subprocess
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from holdfast import serve
from holdfast.policy.base import Chunk, Observation
from holdfast.tests.actors.embedding.two_scripts import SPEC, first_action, robot
from holdfast.tests.waiting import wait_until
from holdfast.transport import sockets


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
