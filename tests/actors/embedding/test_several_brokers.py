"""Scripts at a site with two brokers, each a process with a key of its own; the robot enrols."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from holdfast import Chunk, PolicySpec, RemotePolicy, serve
from holdfast.actors.runtime.status_board import StatusBoardReader
from holdfast.tests.actors.broker.broker_process import BrokerProcess
from holdfast.tests.waiting import wait_until
from holdfast.transport.enrolment_tokens import issue
from holdfast.transport.keys import Role, load_public, new

SPEC = PolicySpec(
    model="m",
    revision="1",
    cameras=(),
    state_names=("a",),
    action_names=("a",),
    chunk_size=30,
    fps=30.0,
)


def predict(seen: Any) -> list[Chunk]:
    """The same chunk for all."""
    chunk = np.zeros((30, 1), np.float32)
    return [Chunk(model=chunk, robot=chunk) for _ in seen]


class Site:
    """Two brokers, and a served replica at both."""

    def __init__(self, root: Path, closed: ExitStack) -> None:
        self.keys = root / "keys"
        new("pick/mine", Role.REPLICA, self.keys)
        (root / "script").mkdir()
        self.brokers = [closed.enter_context(closing(self._broker(root, k))) for k in "ab"]
        self.public = [self.keys / f"broker@{k}.pub" for k in "ab"]
        self.maps = [each.board.map(writable=False) for each in self.brokers]
        self.stop = threading.Event()
        issuer = load_public(self.public[0])
        soon_s = round(time.time()) + 600
        _, made = issue("arm", Role.ROBOT, self.keys, issuer, expires_s=soon_s)
        self.token = made.rename(root / "script" / made.name)

    def _broker(self, root: Path, name: str) -> BrokerProcess:
        new(f"broker/{name}", Role.BROKER, self.keys)
        (root / name).mkdir()
        key = str(self.keys / f"broker@{name}.key")
        return BrokerProcess(root / name, key=key, keyring=str(self.keys))

    def serve(self) -> None:
        serve(
            predict,
            SPEC,
            service="pick",
            broker=[each.back for each in self.brokers],
            key=self.keys / "pick@mine.key",
            broker_key=self.public,
            stop=self.stop,
        )

    def robot(self) -> RemotePolicy:
        return RemotePolicy(
            "pick",
            action_names=["a"],
            state_names=["a"],
            cameras={},
            broker=[each.front for each in self.brokers],
            key=self.token,
            broker_key=self.public,
        )

    def report(self, broker: int) -> dict[str, Any]:
        """What a broker says of itself."""
        return StatusBoardReader(self.maps[broker]).report() or {}

    def brokers_of(self, robot: str) -> list[int]:
        """Those that say to have an open session of it; a dead one says what it last said."""
        return [
            k
            for k in range(len(self.brokers))
            for row in self.report(k).get("sessions", [])
            if (row["robot"], row["state"]) == (robot, "open")
        ]


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """The replica is known to both brokers."""
    with ExitStack() as closed:
        made = Site(tmp_path, closed)
        served = threading.Thread(target=made.serve)
        served.start()
        closed.callback(served.join, 60)
        closed.callback(made.stop.set)
        wait_until(lambda: all(made.report(k).get("replica_count") == 1 for k in (0, 1)))
        yield made


def test_a_script_goes_on_by_the_next_broker_when_the_first_is_killed(site: Site) -> None:
    """Its session is the same, and its plan is filled anew."""
    with site.robot() as policy:
        policy.wait(60)

        def acts() -> bool:
            time.sleep(1 / 30)
            return policy.act({"state": [0.0], "images": {}}) is not None

        wait_until(acts, "the first action")
        wait_until(lambda: acts() and site.brokers_of("arm"))
        (used,) = site.brokers_of("arm")
        other = 1 - used
        epoch = policy._loop.cycle.session.epoch
        site.brokers[used].process.kill()

        wait_until(lambda: acts() and other in site.brokers_of("arm"), "the other has it")
        replies = site.report(other)["replies"]
        wait_until(lambda: acts() and site.report(other)["replies"] >= replies + 2)
        assert policy._loop.cycle.session.epoch == epoch
