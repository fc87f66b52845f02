"""The broker's routing with model robots and replicas that behave as real ones do, in memory.

The model knows the sessions from the messages that pass, not from the router's own tables, and
checks the routing's guarantees independently.
"""

from __future__ import annotations

from collections import deque

from holdfast.actors.broker.effects import Effect, Log, Received, ToReplica, ToRobot
from holdfast.actors.broker.routing import Routing
from holdfast.actors.runtime.configs import BrokerConfig
from holdfast.tests.properties.routing_peers import (
    FakeReplica,
    FakeRobot,
    mark_of,
    message,
    offer,
    open_body,
    terms,
)
from holdfast.transport.bodies import Body, Close, Drain, Event, Heartbeat, Inquiry, Reject, Verdict
from holdfast.transport.header import Kind
from holdfast.transport.messages import decode, encode

MS = 1_000_000
SECOND = 1_000 * MS
CONFIG = BrokerConfig(front="inproc://front", back="inproc://back")
SOCKET_HOLDS = 6


class RoutingSite:
    """A routing with its peers. Every effect goes through `carry_out`, as in the broker's shell."""

    def __init__(self) -> None:
        self.now_ns = 1_000 * SECOND
        self.routing = Routing(CONFIG, "broker:1", self.now_ns)
        self.replicas: dict[bytes, FakeReplica] = {}
        self.robots: dict[bytes, FakeRobot] = {}
        self.limits: dict[str, int] = {}
        """Service to the most sessions at all its replicas together, which each of them states."""
        self.sessions: dict[str, tuple[bytes, bytes, int]] = {}
        """Robot name to (robot's identity, replica's identity, epoch): the sessions."""
        self.refused: dict[str, set[bytes]] = {}
        self.name_taken = False
        self.askers: dict[bytes, FakeRobot] = {}
        self.asked: dict[str, tuple[bytes, int]] = {}
        """Robot name to (asker's identity, instant): the newest question that is not answered."""

    # Sends, as the shell does them

    def carry_out(self, effects: list[Effect]) -> list[Effect]:
        done: list[Effect] = []
        waiting = deque(effects)
        blocked: dict[tuple[bool, bytes], str] = {}
        while waiting:
            effect = waiting.popleft()
            if isinstance(effect, Log):
                continue
            check_readable(effect)
            self._observe(effect)
            way = isinstance(effect, ToRobot), effect.identity
            why = blocked.get(way)
            if why is None:
                if isinstance(effect, ToRobot):
                    why = self._to_robot(effect)
                else:
                    why = self._to_replica(effect)
            if why is None:
                done.append(effect)
            else:
                blocked[way] = why
                self._drop(effect)
                if why == "unreachable" and isinstance(effect, ToReplica):
                    self._unlist(effect.identity)
                waiting.extend(self.routing.undelivered(effect, why, self.now_ns))  # type: ignore[arg-type]
        return done

    def _observe(self, effect: ToRobot | ToReplica) -> None:
        """Update the sessions by what is about to be sent, whether it arrives or not."""
        kind, epoch = effect.header.kind, effect.header.epoch
        if isinstance(effect, ToRobot):
            if effect.identity in self.robots and kind in (Kind.EVENT, Kind.REJECT):
                self._check_bad_news(self.robots[effect.identity], effect)
        elif kind is Kind.OPEN:
            opener = self._opening(effect.robot, effect)
            self.sessions[effect.robot] = opener.peer.identity, effect.identity, epoch
        elif kind is Kind.CLOSE:
            held = self.sessions.get(effect.robot)
            if held is not None and held[1:] == (effect.identity, epoch):
                robot = self.robots[held[0]]
                # A robot that goes on is being moved: its room is kept until its next OPEN.
                if robot.state == "closed" or robot.epoch != epoch:
                    del self.sessions[effect.robot]

    def _to_replica(self, effect: ToReplica) -> str | None:
        kind = effect.header.kind
        replica = self.replicas.get(effect.identity)
        if replica is None or not replica.up:
            return "unreachable"
        if kind is Kind.WELCOME and effect.header.token == replica.token:
            replica.listed = True
        if replica.full or len(replica.inbox) >= SOCKET_HOLDS:
            return "full"
        replica.inbox.append(effect)
        return None

    def _opening(self, robot: str, effect: ToReplica) -> FakeRobot:
        mark = mark_of(effect)
        assert mark[0] == "open" and mark[2] == effect.header.epoch
        opener = self.robots[mark[1]]
        assert opener.name == robot, "an OPEN travels under the name of its robot"
        return opener

    def _to_robot(self, effect: ToRobot) -> str | None:
        robot = self.robots.get(effect.identity)
        kind, epoch = effect.header.kind, effect.header.epoch
        if kind is Kind.VERDICT:
            self._check_verdict(effect)
            return None
        lost = robot is None or not robot.reachable
        if lost or robot.full:  # type: ignore[union-attr]
            return "unreachable" if lost else "full"
        assert robot is not None
        if kind is Kind.REPLY:
            self._check_reply(robot, effect)
        elif kind is Kind.ERROR:
            assert (epoch, effect.header.seq) == (robot.epoch, robot.waiting), "unasked"
            robot.waiting = None
        elif epoch == robot.epoch and kind is Kind.ACCEPT:
            assert robot.state == "opening", "a robot is accepted once per OPEN"
            robot.state = "open"
        elif epoch == robot.epoch and (kind is Kind.REJECT or _is_lost(effect)):
            robot.state, robot.waiting = "closed", None
        return None

    def _drop(self, effect: ToRobot | ToReplica) -> None:
        """A reply or an error that does not arrive leaves its request to the robot's timeout."""
        if isinstance(effect, ToRobot) and effect.header.kind in (Kind.REPLY, Kind.ERROR):
            robot = self.robots.get(effect.identity)
            if robot is not None and effect.header.seq == robot.waiting:
                robot.waiting = None

    # What is promised

    def _check_reply(self, robot: FakeRobot, effect: ToRobot) -> None:
        tag, sender, replica, epoch, seq = mark_of(effect)
        assert tag == "reply"
        assert sender == robot.peer.identity, "a reply reaches only the robot that asked"
        assert (epoch, seq) not in robot.answered, "a reply is delivered once"
        assert (epoch, seq) == (robot.epoch, robot.waiting), "only the newest request is answered"
        assert self.sessions[robot.name][1:] == (replica, epoch), (
            "only the session's replica answers"
        )
        robot.answered.add((epoch, seq))
        robot.waiting = None

    def _check_bad_news(self, robot: FakeRobot, effect: ToRobot) -> None:
        """A session is given up, or refused, only when no listed replica could have it."""
        body, current = effect.payload, self.sessions.get(robot.name)
        if effect.header.kind is Kind.REJECT:
            if isinstance(body, Reject) and body.reason == "name-taken":
                self.name_taken = True
                return
        elif not _is_lost(effect):
            return
        elif current is not None and current[0] != robot.peer.identity:
            return  # another robot has the name now, and this one is informed
        elif current is not None and current[2] != effect.header.epoch:
            return  # about a session before the present one
        elif isinstance(body, Event) and "unknown session" in body.message:
            assert current is None, "a session that exists is not unknown"
            return
        able = self.could_serve(robot)
        assert not able, f"{robot.name} was given up although {able} could serve it"
        self.sessions.pop(robot.name, None)

    def _check_verdict(self, effect: ToRobot) -> None:
        asker = self.askers[effect.identity]
        newest, _ = self.asked.pop(asker.name)
        assert newest == effect.identity, "the newest question of a name is answered, and once"
        assert effect.header.token == asker.epoch, "an answer echoes what it answers"
        body = effect.payload
        if isinstance(body, Verdict) and body.reject and body.reject.reason != "no-answer":
            able = self.could_serve(asker)
            assert not able, f"{asker.name} was refused although {able} could serve it"

    def could_serve(self, robot: FakeRobot) -> list[str]:
        used: dict[bytes, int] = {}
        for name, (_, replica, _) in self.sessions.items():
            if name != robot.name:
                used[replica] = used.get(replica, 0) + 1
        of_service = sum(
            count
            for identity, count in used.items()
            if self.replicas[identity].listed
            and self.replicas[identity].peer.service == robot.service
        )
        if of_service >= self.limits.get(robot.service, 1000):
            return []
        return [
            replica.peer.name
            for identity, replica in self.replicas.items()
            if replica.listed
            and not replica.draining
            and replica.peer.service == robot.service
            and identity not in self.refused.get(robot.name, ())
            and used.get(identity, 0) < replica.capacity
        ]

    def check_capacity(self) -> None:
        status = self.routing.status(self.now_ns)
        for row in (*status["replicas"], *status["services"]):
            assert row["sessions"] <= row["capacity"]
        for row in status["services"]:
            assert row["capacity"] <= self.limits.get(row["name"], 1000)

    def check_requests(self) -> None:
        """The request that a robot waits for is at its session's replica, unless a full socket
        delays it until the next tick. No session is left at a replica that was given up."""
        for name, session in self.sessions.items():
            assert self.replicas[session[1]].listed, f"{name} is at a replica that was given up"
        for robot in self.robots.values():
            held = self.sessions.get(robot.name)
            mine = held is not None and held[::2] == (robot.peer.identity, robot.epoch)
            if robot.state != "open" or robot.waiting is None or not mine or held is None:
                continue
            replica = self.replicas[held[1]]
            there = [e.header.seq for e in replica.inbox if e.robot == robot.name]
            if robot.name in replica.pending:
                there.append(replica.pending[robot.name].header.seq)
            excused = not replica.up or self.routing.waits()
            assert robot.waiting in there or excused, f"{robot.waiting} of {robot.name} is nowhere"

    # Replicas

    def say(self, replica: FakeReplica, robot: str, what: Received) -> list[Effect]:
        return self.carry_out(self.routing.from_replica(replica.peer, robot, what, self.now_ns))

    def register(self, replica: FakeReplica) -> None:
        replica.sessions.clear()
        replica.pending.clear()
        replica.token += 1
        replica.progress_at_ns = self.now_ns
        for other in self.replicas.values():
            if other.peer.name == replica.peer.name and other is not replica:
                assert other.peer.incarnation < replica.peer.incarnation
                other.listed = False
        replica.listed = True
        limit = self.limits.get(replica.peer.service, 0)
        body = offer(replica.peer.name, replica.capacity, service_limit=limit)
        self.say(replica, "", message(Kind.REGISTER, body, token=replica.token))

    def beat(self, replica: FakeReplica) -> None:
        replica.progress += 1
        if replica.listed:
            replica.progress_at_ns = self.now_ns
        self.say(replica, "", message(Kind.HEARTBEAT, Heartbeat(progress=replica.progress)))

    def work(self, replica: FakeReplica) -> None:
        """Handle everything that has arrived; answer nothing yet."""
        while replica.inbox and replica.up and not replica.hung:
            self._handle(replica, replica.inbox.popleft())

    def _handle(self, replica: FakeReplica, effect: ToReplica) -> None:
        header, robot = effect.header, effect.robot
        if header.kind is Kind.WELCOME and header.token == 0:
            if not replica.draining:
                self.register(replica)
        elif header.kind is Kind.INQUIRY:
            no = Reject(reason="capacity", message="full") if replica.picky else None
            yes = None if no else terms(replica.peer.name)
            verdict = Verdict(accept=yes, reject=no)
            header = header._replace(kind=Kind.VERDICT)
            self.say(replica, robot, Received(header, ("frames", "verdict"), verdict))
        elif header.kind is Kind.OPEN:
            replica.pending.pop(robot, None)
            replica.turned_away.pop(robot, None)
            if replica.picky:
                replica.sessions.pop(robot, None)
                replica.turned_away[robot] = header.epoch
                self.refuse(replica, effect)
                return
            replica.sessions[robot] = header.epoch
            assert len(replica.sessions) <= replica.capacity, "no replica holds more than it offers"
            answer = message(Kind.ACCEPT, terms(replica.peer.name), "accept", epoch=header.epoch)
            self.say(replica, robot, answer)
        elif header.kind is Kind.CLOSE and replica.sessions.get(robot) == header.epoch:
            del replica.sessions[robot]
            replica.pending.pop(robot, None)
        elif header.kind is Kind.REQUEST:
            if replica.sessions.get(robot) == header.epoch:
                replica.pending[robot] = Received(header, effect.payload)  # type: ignore[arg-type]
            else:
                assert replica.turned_away.get(robot) == header.epoch, (
                    "a request follows the OPEN of its session"
                )

    def refuse(self, replica: FakeReplica, effect: ToReplica) -> None:
        held = self.sessions.get(effect.robot)
        if held is not None and held[1:] == (replica.peer.identity, effect.header.epoch):
            self.refused.setdefault(effect.robot, set()).add(replica.peer.identity)
        answer = Reject(reason="capacity", message="full")
        self.say(
            replica,
            effect.robot,
            message(Kind.REJECT, answer, "reject", epoch=effect.header.epoch),
        )

    def answer(self, replica: FakeReplica, robot: str) -> None:
        asked = replica.pending.pop(robot)
        _, sender, epoch, seq = asked.frames[1]
        mark = "reply", sender, replica.peer.identity, epoch, seq
        header = asked.header._replace(kind=Kind.REPLY)
        self.say(replica, robot, Received(header, ("frames", mark)))

    def drain(self, replica: FakeReplica) -> None:
        replica.draining = True
        self.say(replica, "", message(Kind.DRAIN, Drain()))

    def _unlist(self, identity: bytes) -> None:
        if identity in self.replicas:
            self.replicas[identity].listed = False

    # Robots

    def hear(self, robot: FakeRobot, what: Received) -> list[Effect]:
        robot.heard_at_ns = self.now_ns
        return self.carry_out(self.routing.from_robot(robot.peer, what, self.now_ns))

    def open(self, robot: FakeRobot) -> None:
        robot.epoch += 1
        robot.state, robot.waiting = "opening", None
        refused = self.refused.pop(robot.name, set())
        mark = "open", robot.peer.identity, robot.epoch
        body = open_body(robot.name, robot.service)
        self.name_taken = False
        self.hear(robot, message(Kind.OPEN, body, mark, epoch=robot.epoch))
        if self.name_taken:  # the holder's session goes on, and its refusals still hold
            self.refused[robot.name] = refused

    def request(self, robot: FakeRobot) -> None:
        robot.seq += 1
        robot.waiting = robot.seq
        mark = "request", robot.peer.identity, robot.epoch, robot.seq
        sent = message(Kind.REQUEST, mark=mark, epoch=robot.epoch, seq=robot.seq)
        done = self.hear(robot, sent)
        held = self.sessions.get(robot.name)
        if robot.state != "open" or held is None or held[::2] != (robot.peer.identity, robot.epoch):
            return
        replica = self.replicas[held[1]]
        if replica.up and not replica.full and len(replica.inbox) < SOCKET_HOLDS:
            went = [e for e in done if isinstance(e, ToReplica) and e.header.kind is Kind.REQUEST]
            # Two replicas that are found dead by it are as many as it may meet.
            failed = [e for e in done if isinstance(e, ToRobot) and e.header.kind is Kind.ERROR]
            assert went or failed, "a request goes out at once, whatever other peers do"

    def close(self, robot: FakeRobot) -> None:
        robot.state, robot.waiting = "closed", None
        self.hear(robot, message(Kind.CLOSE, Close(), epoch=robot.epoch))
        held = self.sessions.get(robot.name)
        if held is not None and (held[0], held[2]) == (robot.peer.identity, robot.epoch):
            del self.sessions[robot.name]

    def inquire(self, asker: FakeRobot) -> None:
        """Inquire in the name of a robot, which may have a session, whether it would be served."""
        self.askers[asker.peer.identity] = asker
        self.asked[asker.name] = asker.peer.identity, self.now_ns
        body = Inquiry(open=open_body(asker.name, asker.service))
        asked = message(Kind.INQUIRY, body, "inquiry", token=asker.epoch)
        self.carry_out(self.routing.from_robot(asker.peer, asked, self.now_ns))

    # Time

    def advance(self, ns: int) -> None:
        """Let time pass in steps that are short beside every limit, with the life that goes on."""
        while ns > 0:
            step = min(ns, 250 * MS)
            ns -= step
            self.now_ns += step
            for replica in self.living():
                if self.now_ns >= replica.full_until_ns:
                    replica.full = False
                self.beat(replica)
                self.work(replica)
            for robot in self.present():
                epoch = 0 if robot.state == "closed" else robot.epoch
                waiting = robot.waiting if epoch and robot.waiting is not None else 0
                beat = message(Kind.HEARTBEAT, Heartbeat(progress=1), epoch=epoch, seq=waiting)
                self.hear(robot, beat)
            self._tick()

    def living(self) -> list[FakeReplica]:
        return [r for r in list(self.replicas.values()) if r.up and not r.hung]

    def present(self) -> list[FakeRobot]:
        return [r for r in list(self.robots.values()) if r.reachable and not r.silent]

    def _tick(self) -> None:
        self._expire()
        self.carry_out(self.routing.retry(self.now_ns))
        self.carry_out(self.routing.tick(self.now_ns))
        for name, (_, asked_at_ns) in self.asked.items():
            assert self.now_ns - asked_at_ns < 2 * SECOND, (
                f"the question about {name} has no answer"
            )

    def _expire(self) -> None:
        for replica in self.replicas.values():
            if self.now_ns - replica.progress_at_ns >= CONFIG.replica_lost_after_s * SECOND:
                replica.listed = False
        for name, (identity, _, _) in list(self.sessions.items()):
            silent = self.now_ns - self.robots[identity].heard_at_ns
            if silent >= CONFIG.robot_lost_after_s * SECOND:
                del self.sessions[name]

    def restart_broker(self) -> None:
        self.routing = Routing(CONFIG, "broker:2", self.now_ns)
        self.sessions.clear()
        self.asked.clear()
        for replica in self.replicas.values():
            replica.listed = False
            replica.inbox.clear()


def check_readable(effect: ToRobot | ToReplica) -> None:
    """What the broker says on its own account can be read as it was meant."""
    if isinstance(effect.payload, Body):
        arrived = decode(encode(effect.header, effect.payload))
        assert (arrived.header, arrived.body) == (effect.header, effect.payload)


def _is_lost(effect: ToRobot) -> bool:
    return isinstance(effect.payload, Event) and effect.payload.what == "lost"
