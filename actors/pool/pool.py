"""The pool actor: the replicas of one service on a cluster, as many as the broker says it needs.

It starts, drains and ends them, and lets the engine do the rest: an actor whose process or node has
died is started again by Ray, also while this process is dead. The next one finds those that live,
by their names. Their log lines become this process's own. A pool that is stopped drains and ends
them; one that is killed leaves them.
"""

from __future__ import annotations

import hashlib
import logging
import select
import time
from collections import Counter
from typing import Any

import msgspec

from ...errors import ControlSocketError
from ..runtime.actor import Actor
from ..runtime.pool_config import PoolConfig
from ..runtime.runtime_dir import SOCKET
from ..supervision.control_socket import ask
from .pool_plan import PooledMember, PoolStep, steps
from .ray_cluster import RayCluster

TURN_S = 0.3
ASK_S = 1.0
SILENT_S = 60.0
"""A replica that has answered and then does not for so long is killed, and started again."""
FEWER_S = 5.0
"""For how long fewer replicas must be wanted: a broker that restarts wants few at first."""


class PoolActor(Actor):
    """One pool. Its report has the replicas with their nodes."""

    kind = "pool"
    Config = PoolConfig

    config: PoolConfig

    def setup(self) -> None:
        """Connect to the cluster. Raises ConnectionError."""
        config = self.config
        self.phase(f"connects to the Ray cluster at {config.address}")
        self._cluster = RayCluster(config.address, config.namespace, config.service)
        self.link.catch_signals()  # which Ray takes for itself: it ends a process by SIGTERM
        self.resources.callback(self._cluster.close)
        plain = msgspec.json.encode(config.replica, order="sorted")
        self._configuration = hashlib.sha256(plain).hexdigest()[:16]
        self._answers: dict[int, dict[str, Any]] = {}
        self._heard_s: dict[int, float] = {}
        self._seen: dict[int, tuple[int, int]] = {}
        """(pid, number of the last log line) of each."""
        self._restarts = Counter[int]()
        self._wanted = config.fewest
        self._wanted_there: int | None = None
        self._fewer_since_s: float | None = None
        self._asked_s = 0.0
        found = self._cluster.find()
        if found:
            self.log.info("found %s alive", ", ".join(map(self._named, found)))
            self._wanted = min(max(len(found), config.fewest), config.most)

    def run(self) -> None:
        self.ready()
        while not self.stopping:
            select.select([self.link], [], [], TURN_S)
            self.refuse_commands()
            self._turn(self._follow())
            self.board.progress()
        if not self.link.orphaned:
            self._leave()

    # Steps of the loop

    def _turn(self, wanted: int) -> None:
        """Visit the replicas, and do what is next."""
        config = self.config
        numbers = range(config.first, config.first + config.most)
        found = self._cluster.find()
        for gone in self._answers.keys() - set(found):
            del self._answers[gone]
            self._heard_s.pop(gone, None)
        last = {number: line for number, (_, line) in self._seen.items()}
        for number, answer in self._cluster.visit(last).items():
            self._hear(number, answer)
        members = {k: self._member(k) for k in found}
        for step in steps(members, wanted, numbers):
            self._do(step)
        for number in found:
            self._watch(number)
        self.board.report(self._status(found))

    def _do(self, step: PoolStep) -> None:
        name, number = self._named(step.number), step.number
        match step.do:
            case "start":
                self.log.info("starts %s", name)
                config = self.config
                keys = config.keys[number - config.first]
                replica = msgspec.structs.replace(config.replica, replica=number, keys=keys)
                self._cluster.start(
                    number,
                    msgspec.to_builtins(replica),
                    self._configuration,
                    gpu=replica.device == "cuda",
                    lease_s=config.lease_s,
                )
            case "drain":
                self.log.info("drains %s", name)
                self._cluster.drain(number)
            case "end":
                self.log.info("ends %s", name)
                self._cluster.end(number)

    def _hear(self, number: int, answer: dict[str, Any]) -> None:
        before, name = self._answers.get(number), self._named(number)
        self._heard_s[number] = time.monotonic()
        self._answers[number] = answer
        pid, _ = self._seen.get(number, (0, 0))
        if pid not in (0, answer["pid"]):
            self._restarts[number] += 1
            self.log.warning("%s was started again, on %s", name, _place(answer))
            self._seen[number] = (answer["pid"], 0)
            return  # the lines of the new process are asked for from the first on
        for _, level, text in answer["lines"]:
            logging.getLogger(name).log(level, "%s: %s", name, text)
        line = answer["lines"][-1][0] if answer["lines"] else self._seen.get(number, (0, 0))[1]
        self._seen[number] = (answer["pid"], line)
        if before is None or before["state"] != answer["state"]:
            why = f": {answer['reason']}" if answer["reason"] else ""
            self.log.info("%s on %s is %s%s", name, _place(answer), answer["state"], why)

    def _watch(self, number: int) -> None:
        """Have a replica started again that hangs."""
        answer = self._answers.get(number)
        if answer is None:
            return
        silent_s = time.monotonic() - self._heard_s[number]
        hung = answer["progress_age_s"] > max(3.0, answer["hang_timeout_s"])
        if hung or silent_s > SILENT_S:
            what = f"makes no progress for {answer['progress_age_s']:.1f} s"
            self.log.error(
                "%s %s: killed", self._named(number), what if hung else "does not answer"
            )
            self._cluster.end(number, restart=True)
            del self._answers[number]

    def _member(self, number: int) -> PooledMember:
        answer = self._answers.get(number)
        if answer is None:
            return PooledMember("starting")
        if time.monotonic() - self._heard_s[number] > ASK_S * 5 and answer["state"] == "ready":
            return PooledMember("starting")  # it died, and Ray starts it again
        return PooledMember(answer["state"], answer["configuration"] == self._configuration)

    def _follow(self) -> int:
        """How many replicas there are to be here, as the broker of this host says."""
        config, now_s = self.config, time.monotonic()
        if now_s - self._asked_s >= ASK_S:
            self._asked_s = now_s
            self._wanted_there = self._wanted_by_broker()
        if self._wanted_there is None:
            return self._wanted
        here = min(max(self._wanted_there - config.fixed, config.fewest), config.most)
        if here >= self._wanted:
            self._wanted, self._fewer_since_s = here, None
        elif self._fewer_since_s is None:
            self._fewer_since_s = now_s
        elif now_s - self._fewer_since_s >= FEWER_S:
            self._wanted, self._fewer_since_s = here, None
        return self._wanted

    def _wanted_by_broker(self) -> int | None:
        try:
            actors = ask(self.rundir / SOCKET, timeout_s=2.0, do="status")["status"]["actors"]
        except ControlSocketError as error:
            self.log.debug("no status: %s", error)
            return None
        for actor in actors:
            if actor["kind"] == "broker" and actor["report"]:
                for service in actor["report"]["services"]:
                    if service["name"] == self.config.service:
                        wanted: int | None = service["wanted"]
                        return wanted
        return None

    def _leave(self) -> None:
        """Drain and end all replicas, within the time that they have for it."""
        self.log.info("stops: drains its replicas")
        until_s = time.monotonic() + self.config.replica.drain_s + 2.0
        drained: set[int] = set()
        while (found := self._cluster.find()) and time.monotonic() < until_s:
            for number, answer in self._cluster.visit({}).items():
                self._answers[number] = answer
            for number in found:
                state = self._answers.get(number, {"state": "starting"})["state"]
                if state in ("ended", "starting"):
                    self._cluster.end(number)
                elif number not in drained:
                    drained.add(number)
                    self._cluster.drain(number)
            self.board.progress()
        for number in self._cluster.find():
            self._cluster.end(number)

    def _status(self, found: list[int]) -> dict[str, Any]:
        rows = [self._row(number) for number in found]
        ready = sum(row["state"] == "ready" for row in rows)
        waits = [f"{row['name']} {row['state']}: {row['reason']}" for row in rows if row["reason"]]
        return {
            "service": self.config.service,
            "wanted": self._wanted,
            "ready": ready,
            "fewest": self.config.fewest,
            "most": self.config.most,
            "replicas": rows,
            "reason": "; ".join(waits),
        }

    def _row(self, number: int) -> dict[str, Any]:
        answer = self._answers.get(number)
        row = {"name": self._named(number), "restarts": self._restarts[number]}
        if answer is None:
            waits = "waits for a node with room, or for its process"
            return {**row, "state": "starting", "node": "", "pid": 0, "reason": waits}
        reason = answer["reason"]
        silent_s = time.monotonic() - self._heard_s[number]
        if silent_s > ASK_S * 5:
            reason = f"no answer for {silent_s:.0f} s: Ray starts it again if it died"
        state = self._member(number).state
        return {**row, "state": state, "node": _place(answer), "pid": answer["pid"],
                "reason": reason}  # fmt: skip

    def _named(self, number: int) -> str:
        return f"{self.config.service}/{number}"


def _place(answer: dict[str, Any]) -> str:
    return f"{answer['node']} ({answer['host']})"
