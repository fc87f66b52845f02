"""`supervisor check --online`: would the running services accept each robot of the file?

Every robot's question is the OPEN that its own actors would send, made by the same code from the
same configs, and asked under its name and key over a connection of its own. No robot is enabled, no
session begins, and one of the same name that is at work does not notice.

Each robot is asked about by itself: two may both be accepted for the same last place. The answer
holds for this instant; the handshake of the start asks again.
"""

from __future__ import annotations

import secrets
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import zmq
from msgspec.structs import replace

from ...actors.control.config import ControlConfig
from ...actors.control.policy_client import opening
from ...actors.fleet.expand import expand
from ...actors.fleet.hosts import front_address
from ...actors.fleet.schema import FleetFile
from ...actors.network.opening import as_policy_says
from ...actors.runtime.configs import NetworkConfig
from ...actors.runtime.credentials import credentials
from ...actors.runtime.runtime_dir import running, runtime_base
from ...errors import BrokerUnreachableError, FleetError, RefusedError, WireError
from ...transport import sockets
from ...transport.bodies import Inquiry, Open, Verdict
from ...transport.header import Header, Kind
from ...transport.messages import decode, encode

AT_ONCE = sockets.ROUTER_HWM // 2
"""Questions under way: half of what fits on the broker's way to a replica."""
PATIENCE_S = 4.0
"""The broker answers within 2 s what no replica answers; the rest is for connecting."""


class Acceptance(msgspec.Struct, kw_only=True):
    """What one robot would be answered, or why it could not be asked. `reason` is the slug."""

    robot: str
    service: str
    accepted: bool = False
    replica: str | None = None
    reason: str = ""
    message: str = ""
    warnings: tuple[str, ...] = ()


@dataclass
class _Question:
    """One robot's OPEN on its way; `token` is what its answer echoes."""

    network: NetworkConfig
    open: Open
    acceptance: Acceptance
    token: int = field(default_factory=lambda: secrets.randbits(63))
    sent: bool = False


def accepted(fleet: FleetFile, patience_s: float = PATIENCE_S) -> list[Acceptance]:
    """Ask about every robot of `fleet` that has a service, all at once. Raises
    BrokerUnreachableError if no broker took any of the questions."""
    served = [robot for robot in fleet.robots if robot.service]
    answers = [Acceptance(robot=robot.name, service=robot.service) for robot in served]
    by_robot = {answer.robot: answer for answer in answers}
    questions = []
    for host in dict.fromkeys(robot.host for robot in served):
        questions += _questions(fleet, host, by_robot)
    _must_run_here(fleet, questions)
    _ask(questions, patience_s)
    unsent = [question for question in questions if not question.sent]
    if unsent and len(unsent) == len(answers):
        raise BrokerUnreachableError(unsent[0].acceptance.message)
    return answers


def _questions(
    fleet: FleetFile, host: str | None, answers: dict[str, Acceptance]
) -> list[_Question]:
    """Those of one host's robots. What cannot be asked for want of keys is answered so."""
    robots = [robot for robot in fleet.robots if robot.host == host]
    try:
        specs = {spec.name: spec for spec in expand(fleet, host, _rundir(fleet))}
    except FleetError as error:
        for robot in robots:
            answer = answers[robot.name]
            answer.reason = "keys"
            lacks = "; ".join(fault.message for fault in error.faults)
            answer.message = f"not asked, its keys are those of host {host}; ask there ({lacks})"
        return []
    return [
        _Question(network, _opening(control, network), answers[robot.name])
        for robot in robots
        for control in [msgspec.convert(specs[f"{robot.name}/control"].config, ControlConfig)]
        for network in [_network(fleet, specs[f"{robot.name}/network"].config)]
    ]


def _network(fleet: FleetFile, plain: dict[str, Any]) -> NetworkConfig:
    """The config of the robot's network actor, with the brokers' TCP addresses where they have
    some: the question may come from any host."""
    config = msgspec.convert(plain, NetworkConfig)
    addresses = [front_address(fleet, broker) for broker in fleet.broker.placed]
    known = tuple(address for address in addresses if address is not None)
    return replace(config, brokers=known) if known else config


def _opening(control: ControlConfig, network: NetworkConfig) -> Open:
    assert control.spec is not None, "the fleet file's control has the spec of its driver"
    return as_policy_says(
        opening(control, control.spec.spec(), control.service, control.task, incarnation=0),
        network,
    )


def _rundir(fleet: FleetFile) -> Path:
    return runtime_base() / fleet.name


def _must_run_here(fleet: FleetFile, questions: Sequence[_Question]) -> None:
    """A broker behind a socket file can only be asked while its fleet runs on this machine."""
    local = [question for question in questions if question.network.brokers[0].startswith("ipc://")]
    if local and fleet.name not in (here := running()):
        others = f" (running: {', '.join(here)})" if here else ""
        raise BrokerUnreachableError(
            f"no fleet {fleet.name!r} runs on this machine{others}, so no broker can be asked: "
            "`supervisor start` it, then check again"
        )


def _ask(questions: Sequence[_Question], patience_s: float) -> None:
    """Ask the questions, a few at a time: robots at work speak to the same broker."""
    deadline_s = time.monotonic() + patience_s
    context: sockets.Context = zmq.Context()
    poller = zmq.Poller()
    ahead = deque(questions)
    waiting: dict[Any, _Question] = {}
    try:
        while (ahead or waiting) and (left_s := deadline_s - time.monotonic()) > 0:
            while ahead and len(waiting) < AT_ONCE:
                question = ahead.popleft()
                if (made := _connect(context, question)) is not None:
                    waiting[made] = question
                    poller.register(made, zmq.POLLIN | zmq.POLLOUT)
            for socket, _ in poller.poll(int(left_s * 1000) + 1):
                question = waiting[socket]
                if not question.sent:
                    header = Header(Kind.INQUIRY, token=question.token)
                    question.sent = sockets.send(
                        socket, encode(header, Inquiry(open=question.open))
                    )
                    if question.sent:
                        poller.register(socket, zmq.POLLIN)
                if _receive_answer(socket, question):
                    poller.unregister(socket)
                    socket.close()
                    del waiting[socket]
        for question in (*waiting.values(), *ahead):
            _give_up(question, patience_s)
    finally:
        context.destroy(linger=0)


def _connect(context: sockets.Context, question: _Question) -> sockets.Socket | None:
    """A connection in the robot's name that cannot be taken for the robot's own."""
    config, answer = question.network, question.acceptance
    try:
        keys = credentials(answer.robot, config.keys)
    except RefusedError as refused:
        answer.reason, answer.message = "keys", f"not asked: {refused}"
        return None
    # Robots count their incarnations from 1; the rest keeps two askers apart.
    identity = f"{answer.robot}:0:{secrets.token_hex(8)}"
    key, server = keys.of(0)
    made = sockets.dealer(
        context, config.brokers[0], identity, key=key, server=server, connect=False
    )
    for k, broker in enumerate(config.brokers):  # the question goes to one that is connected
        if keys.brokers:
            made.curve_serverkey = keys.brokers[k].public  # of the connections from now on
        made.connect(broker)
    return made


def _receive_answer(socket: sockets.Socket, question: _Question) -> bool:
    """Take what has arrived; True once the answer was among it."""
    while True:
        try:
            frames = sockets.receive(socket)
            if frames is None:
                return False
            message = decode(frames)
        except WireError:
            continue  # of an unknown release: not an answer to this question
        verdict = message.body
        if not isinstance(verdict, Verdict) or message.header.token != question.token:
            continue
        answer = question.acceptance
        if verdict.accept is not None:
            answer.accepted, answer.replica = True, verdict.accept.replica
            answer.warnings = verdict.accept.warnings
        elif verdict.reject is not None:
            answer.reason, answer.message = verdict.reject.reason, verdict.reject.message
        return True


def _give_up(question: _Question, patience_s: float) -> None:
    answer, broker = question.acceptance, " or ".join(question.network.brokers)
    if question.sent:
        answer.reason = "no-answer"
        answer.message = (
            f"the broker at {broker} took the question and did not answer within {patience_s:g} s: "
            "it hangs (`actorctl status`), or is of a release that knows no inquiries"
        )
        return
    answer.reason = "no-broker"
    knows = " and knows the key of this robot" if question.network.keys.key else ""
    answer.message = (
        f"no broker answers at {broker}: see on its host that the fleet runs{knows} "
        "(`actorctl status`)"
    )


def table(answers: Sequence[Acceptance]) -> Any:
    """For a terminal: a row per robot, then its warnings or the reason of its rejection."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    rows = Table(box=None, pad_edge=False, header_style="dim")
    for column in ("robot", "service", "replica", "answer"):
        rows.add_column(column, no_wrap=True)
    remarks = []
    for answer in answers:
        outcome = Text("accepted", "green") if answer.accepted else Text(answer.reason, "bold red")
        rows.add_row(answer.robot, answer.service, answer.replica or "-", outcome)
        remarks += [Text(f"{answer.robot}: {warning}", "yellow") for warning in answer.warnings]
        if not answer.accepted:
            remarks.append(Text(f"{answer.robot}: {answer.message}", "red"))
    return Group(rows, *remarks)
