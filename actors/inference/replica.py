"""The inference actor: one replica of a service, one pre-warmed policy on one device.

Guarantees: it registers only after everything that it will run has run once; a request is answered
by a reply or an error, or superseded by a newer one of its robot; a bad request affects no other
one; no request makes it load a model. It holds no state that a robot cannot repeat.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from threading import current_thread, main_thread
from typing import Any

import cv2

from ...errors import PolicyError, RefusedError, WireError
from ...policy.base import ChunkPolicy, Observation
from ...transport import sockets
from ...transport.arrays import Buffer
from ...transport.header import Header, Kind
from ...transport.messages import decode
from ...transport.poll import Poll, ms_until
from ..runtime.actor import Actor
from ..runtime.configs import InferenceConfig
from ..runtime.own_keys import OwnKeys
from ..runtime.wakefulness import LONG_SLICE_NS, set_slices
from .answer_sender import AnswerSender
from .broker_client import BrokerClient
from .broker_links import BrokerLinks
from .departure import Departure
from .history import Histories
from .policy_loading import configured_policy, largest_batch, probed_before, warmed_up
from .policy_runner import PolicyRunner
from .recorded_core import recorded_core
from .replica_metrics import Meters
from .robot_memory import shared_memories
from .self_description import configuration_hash, registration

MESSAGES_PER_TURN = 256
HANG_BATCHES = 3.0
"""A turn of the loop runs one batch and makes progress after it: one that takes so many times the
longest that was measured, at the warm-up or since, counts as hung, but none before the
`hang_timeout_s` of its rules."""
LONG_BATCH_S = 0.005
REPORT_NS = 500_000_000
_NEVER_NS = 1 << 63

# One thread polls the sockets and runs the model in between, so that the progress which it reports
# is the model's own: with a second thread, a hung model would look alive. A thread for the device
# would cost little: with three 224x224 images and a 20 ms model, one thread added 1.0 to 1.3 ms to
# a request, two added 1.2 to 1.3 (medians of 80; three and two rounds out of six each: the others
# were overrun by the machine's other work). Whether the model runs faster in a thread of its own is
# open: there it took less processor time in five of six rounds, for no known reason.
#
# The price of one thread: no message is read while a batch runs. Messages wait in the socket, whose
# queue is sized for all sessions, and the broker waits for three of the longest batches measured at
# warm-up; heartbeats go out around batches to give them all of that time.


class InferenceActor(Actor):
    """One replica as a process: `setup` loads and warms up the policy, `run` serves it."""

    kind = "inference"
    Config = InferenceConfig
    verbs = ("drain",)

    config: InferenceConfig

    def setup(self) -> None:
        """Load the policy, warm it up, restore the counts, connect. Raises RefusedError."""
        config, began_s = self.config, time.monotonic()
        # Before the model, so that a missing key is reported at once.
        keys = OwnKeys(self.name, config.keys, config.brokers)
        keys.wait(self.wait_for, patient=not config.script)
        cv2.setNumThreads(config.threads)
        self._next_beat_ns = _NEVER_NS  # the warm-up predicts before there is a broker client
        before = self.board.previous() or {}
        self._configuration = configuration_hash(config)
        # A robot is not to blame for a policy that failed in a process without its requests.
        blame = {} if self.forgiven or before.get("broken") else before.get("robots", {})
        try:
            self._runner = self._warmed_up_policy({} if self.forgiven else before)
        except RefusedError as error:
            if before.get("configuration") != self._configuration:
                raise
            self.board.report({**before, "broken": True})
            raise PolicyError(f"{error} (it has served with this configuration before)") from error
        self.log.info("%s: %s", self._runner.mode, self._runner.mode_reason)
        if self._runner.execution:
            self.log.info(self._runner.execution)
        self._meters = Meters(before.get("counts"))
        histories = Histories()
        histories.restore(blame)
        self._core = recorded_core(
            self.name,
            config,
            self.rundir,
            self._runner,
            shared_memories(config, self.segment),
            self._meters,
            histories,
            self.log,
        )
        self.resources.callback(self._core.close)
        load_s, limit = time.monotonic() - began_s, self._core.limit
        offer = registration(self.name, self.incarnation, config, self._runner, limit, load_s)
        self._brokers = BrokerLinks(config.brokers, f"{self.name}:{self.incarnation}", offer, keys)
        self.resources.callback(self._brokers.close)
        self._answers = AnswerSender(self._brokers, self._core.sessions)
        self.resources.callback(self._answers.close)
        self._core.handshake.direct = self._answers.open_door(self.rundir, self.name)
        self._unreachable = ""
        self._departure = Departure(config.drain_s)
        self._host = self._host_board()
        # The broker has half a second to answer before this is worth a line in the log.
        self._next_beat_ns, self._next_report_ns = 0, time.monotonic_ns() + REPORT_NS
        self._longest_s = max(self._runner.times.values(), default=0.0)
        if self._longest_s >= LONG_BATCH_S and current_thread() is main_thread():
            # A control loop that wakes up on this core in mid batch then gets it sooner.
            set_slices(LONG_SLICE_NS)
        self.board.report(self._status(time.monotonic_ns()))
        self.resources.callback(lambda: self.board.report(self._status(time.monotonic_ns())))

    def run(self) -> None:
        """Serve until the departure is complete or the supervisor is gone."""
        timeout_s = HANG_BATCHES * self._longest_s
        self.ready(timeout_s, mode=self._runner.mode, batch_s=self._runner.times)
        poll = Poll(self.link.fileno())
        self._brokers.watch(poll)
        self._answers.watch(poll)
        while not self._finished(time.monotonic_ns()):
            awake = poll.wait(self._timeout_ms(time.monotonic_ns()), self._brokers.sendable)
            self.board.progress()
            now_ns = time.monotonic_ns()
            if self.link.fileno() in awake:
                self._serve_commands(now_ns)
            for broker in self._brokers.lost(awake):
                self._core.end_sessions_by(broker)
            self._answers.receive(awake, self._core, self._meters.counts, now_ns)
            for broker, link in enumerate(self._brokers.links):
                if link.socket in awake:
                    self._receive(broker, link, now_ns)
                    link.flush()
            self._work(now_ns)
            self._report(time.monotonic_ns())

    # Handlers of the loop

    def _timeout_ms(self, now_ns: int) -> int:
        """The time until the next heartbeat or batch."""
        due_ns = self._core.due_ns(now_ns)
        wake_ns = self._next_beat_ns if due_ns is None else min(self._next_beat_ns, due_ns)
        return ms_until(wake_ns, now_ns)

    def _serve_commands(self, now_ns: int) -> None:
        for command in self.link.commands():
            if command.verb == "drain":
                self._drain(now_ns, "asked to drain")
                self.link.acknowledge(command.id, {"sessions": len(self._core.sessions)})
            else:
                self.link.acknowledge(command.id, error=self.refusal(command))
        if self.reconfigured():
            self._configuration = configuration_hash(self.config)
            self._core.share(shared_memories(self.config, self.segment))
        if self.stopping and not self.link.orphaned:
            self._drain(now_ns, "asked to stop", stop=True)

    def _receive(self, broker: int, link: BrokerClient, now_ns: int) -> None:
        for _ in range(MESSAGES_PER_TURN):
            try:
                if (frames := link.receive()) is None:
                    return
                self._dispatch(broker, frames, now_ns)
            except WireError as error:
                self._meters.counts[f"dropped:{error.reason}"] += 1
            if not sockets.has_message(link.socket):
                return

    def _dispatch(self, broker: int, frames: list[Buffer], now_ns: int) -> None:
        link = self._brokers.links[broker]
        try:
            robot = bytes(frames[0]).decode()
        except UnicodeDecodeError as error:
            raise WireError("robot", "a robot's name that is not UTF-8") from error
        header = Header.unpack(frames[1])
        if robot:
            for answer in self._core.receive(robot, header, frames[1:], now_ns, broker):
                link.send(robot, answer)
            if header.kind in (Kind.OPEN, Kind.CLOSE):
                self._sessions_changed(now_ns)
        elif header.kind is Kind.WELCOME:
            if not link.welcomed(header):
                self.log.warning("the broker does not know this replica: registering again")
                self._core.end_sessions_by(broker)
            self._sessions_changed(now_ns)
        elif header.kind is Kind.REJECT and link.answers_offer(header):
            # A restart would be refused like this one: a person has to change something.
            raise RefusedError(decode(frames[1:]).body.message)
        elif header.kind is Kind.DRAIN:
            self._departure.release(broker)
            self._drain(now_ns, "drained by the broker")
        elif header.kind is not Kind.HEARTBEAT:
            raise WireError("kind", f"a {header.kind.name} to the replica itself")

    def _sessions_changed(self, now_ns: int) -> None:
        """Notify the other brokers: robots have gone on by another one, places are taken."""
        for broker, robot, frames in self._core.displaced():
            self._brokers.links[broker].send(robot, frames)
        if len(self._brokers.links) > 1:
            self._next_beat_ns = now_ns

    def _work(self, now_ns: int) -> None:
        """Run at most one batch, after a heartbeat if the batch may outlast the next one."""
        due_ns = self._core.due_ns(now_ns)
        if due_ns is None or due_ns > now_ns:
            return
        if now_ns + self._core.longest_batch_ns >= self._next_beat_ns:
            self._beat(now_ns)
        for robot, frames in self._core.work(now_ns):
            self._answers.send(robot, frames)
        self.board.progress()  # reported by the heartbeat after the batch
        took_s = (time.monotonic_ns() - now_ns) / 1e9
        if took_s > self._longest_s:
            self._longest_s = took_s
            self.patience(HANG_BATCHES * took_s)

    def _called(self) -> None:
        """Make progress after each call of the policy, also within a batch that is retried."""
        self.board.progress()
        now_ns = time.monotonic_ns()
        if now_ns >= self._next_beat_ns:
            self._beat(now_ns)

    def _report(self, now_ns: int) -> None:
        self._core.keep_records(now_ns)
        if now_ns >= self._next_beat_ns:
            self._beat(now_ns)
        if now_ns >= self._next_report_ns:
            self._next_report_ns = now_ns + REPORT_NS
            before, self._unreachable = self._unreachable, self._brokers.reason
            if self._unreachable not in ("", before):
                self.log.warning("not registered: %s", self._unreachable)
            self.board.report(self._status(now_ns))

    def _beat(self, now_ns: int) -> None:
        self._next_beat_ns = now_ns + round(self.config.heartbeat_s * 1e9)
        load = self._meters.busy.load(now_ns)
        by_broker, leaving = self._core.by_broker, self._departure.leaving
        rows = self._host.rows(self.name) if self._host else ()
        demand = self._core.demand(now_ns)
        self._brokers.beat(self.board.turns, load, by_broker, leaving, rows, demand)

    def _status(self, now_ns: int) -> dict[str, object]:
        return {
            "registered": bool(self._brokers.registered),
            "broker": self._brokers.reason,
            "brokers": self._brokers.rows,
            "draining": self._departure.begun,
            "configuration": self._configuration,
            **self._core.status(now_ns),
            "unsent": self._answers.dropped,
        }

    # Departure

    def _drain(self, now_ns: int, reason: str, stop: bool = False) -> None:
        """Accept no new robot, answer the waiting requests, and leave once the broker has moved the
        robots; with `stop`, without waiting for room for them."""
        if self._departure.begin(now_ns, stop):
            self.log.info("draining: %s", reason)
            self._core.handshake.draining = True
            self._beat(now_ns)

    def _finished(self, now_ns: int) -> bool:
        if self.link.orphaned:
            return True
        if not self._departure.begun:
            return False
        if self._departure.overdue(now_ns):
            self.log.warning("left with %d sessions", len(self._core.sessions))
            return True
        return self._departure.complete(
            busy=len(self._core.waiting) > 0 or not self._brokers.flush(),
            used_by=set(self._brokers.registered) & self._core.by_broker.keys(),
        )

    # Parts, some of which a subclass replaces

    def _warmed_up_policy(self, before: Mapping[str, Any]) -> PolicyRunner:
        """`before`: the status of the process that failed before this one, if one did."""
        config = self.config
        self.phase(f"loads policy {config.policy} onto {config.device}")
        policy = self._load_policy()
        self.board.progress()
        too = f" and {what}" if (what := getattr(policy, "preparation", "")) else ""
        self.phase(f"warms up with batches of 1 to {largest_batch(config)}{too}")
        probed = probed_before(before, policy, config, self._configuration)
        return warmed_up(policy, config, self._example(), self._called, probed)

    def _load_policy(self) -> ChunkPolicy:
        return configured_policy(self.config)

    def _example(self) -> Observation | None:
        """An observation to vary for the warm-up, where the policy accepts no synthetic one."""
        return None
