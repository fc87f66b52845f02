"""The inference actor: one replica of a service, one pre-warmed policy on one device.

Guarantees: it registers only after everything it will run has been run once; a request is answered
by a reply or an error, or was replaced by a newer one of its robot; one bad request costs nobody
else anything; it never loads a model because somebody asked. It holds nothing that a robot cannot
tell it again.

One thread polls the sockets and runs the model in between. The reason is liveness: the progress it
reports is then the model's own, and no second thread can keep a hung model looking alive. The
hand-over that a thread for the device would need costs little either way: with three 224x224 images
and a 20 ms model, one thread added 1.0 to 1.3 ms to a request, two added 1.2 to 1.3 (medians of 80;
three and two rounds out of six each: the others were overrun by the machine's other work). Whether
the model itself runs faster in a thread of its own is open: there it took less processor time in
five of six rounds, for no known reason, so measure on the target before changing the shape.

The price of one thread: nothing is heard while a batch runs. Messages wait in the socket, whose
queue is sized for all sessions, and the broker waits for three of the longest batches measured at
warm-up; heartbeats go out around batches to give them all of that time.
"""

from __future__ import annotations

import os
import socket
import sys
import time
from pathlib import Path

import cv2

from ...errors import PolicyError, RefusedError, UnfitPolicyError, WireError
from ...policy.base import ChunkPolicy, Observation
from ...policy.kinds import load_policy
from ...transport.arrays import Buffer
from ...transport.header import Header, Kind
from ...transport.host import boot_id
from ...transport.messages import Register, decode
from ...transport.outbox import OutboxReader
from ...transport.poll import Poll
from ..runtime.actor import Actor
from ..runtime.audit import Audit
from ..runtime.configs import InferenceConfig
from ..runtime.credentials import credentials
from .broker_client import BrokerClient
from .capture import Capture, Origin
from .example import Examples
from .history import Histories
from .policy_runner import PolicyRunner
from .replica_metrics import Meters
from .service import ReplicaCore

MESSAGES_PER_TURN = 256
HANG_BATCHES = 3.0
"""A turn of the loop runs one batch. One that takes so many times the longest that was measured at
the warm-up counts as hung: the first sign of life comes after it."""
REPORT_NS = 500_000_000
_NEVER_NS = 1 << 63


class InferenceActor(Actor):
    """See the module."""

    kind = "inference"
    Config = InferenceConfig
    verbs = ("drain",)

    config: InferenceConfig

    def setup(self) -> None:
        config = self.config
        # Before the model: a missing key need not wait for it.
        keys = credentials(self.name, config.key, config.broker_key)
        cv2.setNumThreads(config.threads)
        self._beat_at = _NEVER_NS  # warm-up predicts too, and has no broker to tell yet
        self.phase(f"loads policy {config.policy} onto {config.device}")
        self._device = self._warmed(self._load())
        self.log.info("%s: %s", self._device.mode, self._device.mode_reason)
        if self._device.execution:
            self.log.info(self._device.execution)
        before = self.board.previous() or {}
        self._meters = Meters(before.get("counts"))
        self._histories = Histories()
        self._histories.restore(before.get("robots", {}))
        self._service = self._serve()
        self.resources.callback(self._service.close)
        identity = f"{self.name}:{self.incarnation}"
        self._uplink = BrokerClient(config.broker, identity, self._offer(), *keys)
        self.resources.callback(self._uplink.close)
        self._unreachable = ""
        self._drain_until: int | None = None
        self._leaving = ""
        self._released = False
        self._beat_at = self._report_at = 0
        self.resources.callback(lambda: self.board.report(self._status(time.monotonic_ns())))

    def run(self) -> None:
        longest_s = max(self._device.times.values(), default=0.0)
        self.ready(HANG_BATCHES * longest_s, mode=self._device.mode, batch_s=self._device.times)
        poll = Poll(self.link.fileno())
        self._uplink.watch(poll)
        while not self._finished(time.monotonic_ns()):
            poll.wait(self._patience_ms(time.monotonic_ns()), self._uplink.sendable)
            self.board.progress()
            now = time.monotonic_ns()
            self._obey(now)
            if self._uplink.lost_sessions():
                self._service.forget_everyone()
            self._receive(now)
            self._uplink.flush()
            self._work(now)
            self._tell(time.monotonic_ns())

    # The loop's parts

    def _patience_ms(self, now: int) -> int:
        """Until the next heartbeat or batch, rounded up: to wake early would be to spin."""
        wake = self._beat_at
        due = self._service.due(now)
        if due is not None:
            wake = min(wake, due)
        return max(0, -(-(wake - now) // 1_000_000))

    def _obey(self, now: int) -> None:
        for command in self.link.commands():
            if command.verb == "drain":
                self._drain(now, "asked to drain")
                self.link.acknowledge(command.id, {"sessions": len(self._service.sessions)})
            else:
                self.link.acknowledge(command.id, error=self.refusal(command))
        if self.stopping and not self.link.orphaned:
            self._drain(now, "asked to stop", stop=True)

    def _receive(self, now: int) -> None:
        for _ in range(MESSAGES_PER_TURN):
            try:
                frames = self._uplink.receive()
                if frames is None:
                    return
                self._dispatch(frames, now)
            except WireError as error:
                self._meters.counts[f"dropped:{error.reason}"] += 1

    def _dispatch(self, frames: list[Buffer], now: int) -> None:
        try:
            robot = bytes(frames[0]).decode()
        except UnicodeDecodeError as error:
            raise WireError("robot", "a robot's name that is not UTF-8") from error
        header = Header.unpack(frames[1])
        if robot:
            for answer in self._service.receive(robot, header, frames[1:], now):
                self._uplink.send(robot, answer)
        elif header.kind is Kind.WELCOME:
            if not self._uplink.welcomed(header):
                self.log.warning("the broker does not know this replica: registering again")
                self._service.forget_everyone()
        elif header.kind is Kind.REJECT and self._uplink.asked(header):
            # For good, and for a person: another process would be refused like this one.
            raise RefusedError(decode(frames[1:]).body.message)
        elif header.kind is Kind.DRAIN:
            self._released = self._drain_until is not None
            self._drain(now, "drained by the broker")
        elif header.kind is not Kind.HEARTBEAT:
            raise WireError("kind", f"a {header.kind.name} to the replica itself")

    def _work(self, now: int) -> None:
        """Run at most one batch, with a heartbeat ahead of it if it may last beyond the next."""
        due = self._service.due(now)
        if due is None or due > now:
            return
        if now + self._service.longest_batch_ns >= self._beat_at:
            self._beat(now)
        for robot, frames in self._service.work(now):
            self._uplink.send(robot, frames)
        self.board.progress()  # the heartbeat after a batch tells of it

    def _tell(self, now: int) -> None:
        if (why := self._uplink.reason) != self._unreachable:
            self._unreachable = why
            if why:
                self.log.warning("not registered: %s", why)
        if now >= self._beat_at:
            self._beat(now)
        if now >= self._report_at:
            self._report_at = now + REPORT_NS
            self.board.report(self._status(now))

    def _beat(self, now: int) -> None:
        self._beat_at = now + round(self.config.heartbeat_s * 1e9)
        load = self._meters.busy.load(now)
        self._uplink.beat(self.board.turns, load, self._leaving)

    # The end

    def _drain(self, now: int, why: str, stop: bool = False) -> None:
        """Take no new robot, answer what is here, and leave when the broker has moved the rest; to
        `stop`, without waiting for room for them."""
        leaving = "stopping" if stop else "draining"
        if self._leaving in (leaving, "stopping"):
            return
        self.log.info("draining: %s", why)
        self._leaving = leaving
        self._drain_until = self._drain_until or now + round(self.config.drain_s * 1e9)
        self._service.reception.draining = True
        self._beat(now)

    def _finished(self, now: int) -> bool:
        if self.link.orphaned:
            return True
        if self._drain_until is None:
            return False
        if now >= self._drain_until:
            self.log.warning("left with %d sessions", len(self._service.sessions))
            return True
        in_hand = len(self._service.waiting) > 0 or not self._uplink.flush()
        alone = not self._uplink.registered or not self._service.sessions
        return not in_hand and (self._released or alone)

    # What it is made of

    def _load(self) -> ChunkPolicy:
        config = self.config
        if config.checkpoint is None:
            raise RefusedError(
                f"service {config.service} names no checkpoint: a policy of kind {config.policy} "
                "needs one, a directory or the name of a shipped one; set `checkpoint`"
            )
        try:
            policy = load_policy(
                config.policy, config.checkpoint, config.device, config.dtype, **config.options
            )
        except PolicyError as error:
            raise RefusedError(str(error)) from error
        if not callable(getattr(policy, "predict_chunk", None)):
            raise RefusedError(
                f"policy kind {config.policy} of service {config.service} predicts no chunks "
                "(it has no predict_chunk): only policies with a chunk API can be served"
            )
        # Only now is it known whether the policy brought torch along.
        if torch := sys.modules.get("torch"):
            torch.set_num_threads(config.threads)
        self.board.progress()
        return policy

    def _example(self) -> Observation | None:
        """What to make the warm-up's observations from, where they cannot be synthetic."""
        return None

    def _warmed(self, policy: ChunkPolicy) -> PolicyRunner:
        config = self.config
        max_batch = config.max_batch if config.scheduling == "deadline" else 1
        self.phase(f"warms up with batches of 1 to {max_batch}")
        try:
            task = config.pin_task or config.default_task
            device = PolicyRunner(
                policy, Examples(policy.spec, task, self._example()), self._predicted
            )
            device.warm_up(max_batch)
        except UnfitPolicyError as error:
            raise RefusedError(str(error)) from error
        return device

    def _predicted(self) -> None:
        """The policy did something: a sign of life, also within a batch that is done one by one."""
        self.board.progress()
        now = time.monotonic_ns()
        if now >= self._beat_at:
            self._beat(now)

    def _serve(self) -> ReplicaCore:
        config, device = self.config, self._device
        place = self.name.replace("/", ".")
        evidence = Path(config.evidence or self.rundir)
        origin = Origin(
            service=config.service,
            policy=config.policy,
            checkpoint=str(config.checkpoint),
            checkpoint_hash=device.policy.checkpoint_hash,
            device=config.device,
            dtype=config.dtype,
            threads=config.threads,
            options=config.options,
            pin_task=config.pin_task,
            default_task=config.default_task,
        )
        return ReplicaCore(
            self.name,
            config,
            device,
            {robot: OutboxReader(self.segment(s)) for robot, s in config.outboxes.items()},
            self._meters,
            Audit(evidence / "audit" / f"{place}.jsonl", config.audit_bytes),
            Capture(evidence / "capture" / place, config.capture_bytes, origin),
            self._histories,
            self.log,
        )

    def _offer(self) -> Register:
        spec, device, config = self._device.spec, self._device, self.config
        return Register(
            replica=self.name,
            service=config.service,
            capacity=self._service.limit,
            model=spec.model,
            revision=spec.revision,
            checkpoint=device.policy.checkpoint_hash,
            cameras={c.name: (c.width, c.height) for c in spec.cameras},
            state_names=spec.state_names,
            action_names=spec.action_names,
            chunk_size=spec.chunk_size,
            fps=spec.fps,
            control_mode=spec.control_mode,
            prefix=spec.prefix,
            max_prefix_steps=spec.max_prefix_steps,
            stateful=device.mode == "exclusive",
            batch_s=tuple(device.times[size] for size in sorted(device.times)),
            host=socket.gethostname(),
            boot_id=boot_id(),
            pid=os.getpid(),
            kind="script" if config.script else "fleet",
            incarnation=self.incarnation,
            contract=spec.contract(device.policy.checkpoint_hash),
        )

    def _status(self, now: int) -> dict[str, object]:
        return {
            "registered": self._uplink.registered,
            "broker": self._uplink.reason,
            "draining": self._drain_until is not None,
            **self._service.status(now),
            "unsent": dict(self._uplink.dropped),
        }
