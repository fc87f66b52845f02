"""Peers that enrol at broker processes: alone, at the same time, twice, and while one is killed."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
import zmq

from holdfast.actors.runtime.key_files import KeyFiles
from holdfast.actors.runtime.own_keys import OwnKeys
from holdfast.errors import RefusedError
from holdfast.tests.actors.broker.broker_process import BrokerProcess
from holdfast.tests.waiting import wait_until
from holdfast.transport import messages, sockets
from holdfast.transport.bodies import Heartbeat
from holdfast.transport.connection import Connection
from holdfast.transport.enrolment_tokens import issue, load_token
from holdfast.transport.header import Header, Kind
from holdfast.transport.key_bodies import Enrol
from holdfast.transport.keys import Role, load, load_public, new
from holdfast.transport.revoking import revoke

WITHIN_S = 60.0


class Site:
    """The brokers `a` and `b`, each with a directory of keys; the peers' files are in `root`."""

    def __init__(self, root: Path, closed: ExitStack) -> None:
        self.root = root
        self.keys = {name: root / name / "keys" for name in "ab"}
        for name, directory in self.keys.items():
            new(f"broker/{name}", Role.BROKER, directory)
        for name, directory in self.keys.items():
            other = "b" if name == "a" else "a"
            shutil.copy(self.keys[other] / f"broker@{other}.pub", directory)
        self.brokers = {
            name: closed.enter_context(closing(self._broker(name, other)))
            for name, other in ("ab", "ba")
        }

    def _broker(self, name: str, other: str) -> BrokerProcess:
        return BrokerProcess(
            self.root / name,
            self.root / name / "log",
            key=str(self.keys[name] / f"broker@{name}.key"),
            keyring=str(self.keys[name]),
            others={f"broker/{other}": sockets.ipc(self.root / other, "front")},
        )

    def token(self, name: str, role: Role = Role.ROBOT, lasts_s: float = 600) -> Path:
        """The holder's file of a token of broker `a`."""
        broker = load_public(self.keys["a"] / "broker@a.pub")
        expires_s = round(time.time() + lasts_s)
        _, path = issue(name, role, self.keys["a"], broker, expires_s=expires_s)
        return path

    def enrol(self, name: str, token: Path, file: str = "") -> Path:
        """Enrol as a peer does that knows both brokers; the file of its key."""
        role = load_token(token).role
        ends = [b.back if role is Role.REPLICA else b.front for b in self.brokers.values()]
        key = self.root / "peer" / (file or f"{name.replace('/', '@')}.key")
        files = self.files(key, token)
        deadline_s = time.monotonic() + WITHIN_S

        def wait(what: str) -> None:
            assert time.monotonic() < deadline_s, what

        OwnKeys(name, files, ends).wait(wait, patient=False)
        return key

    def files(self, key: Path, token: Path) -> KeyFiles:
        """Those of a peer that knows both brokers."""
        public = tuple(str(key.parent / f"broker@{k}.pub") for k in "ab")
        return KeyFiles(key=str(key), brokers=public, tokens=(str(token),))

    def is_heard(self, key: Path, broker: str) -> bool:
        """Whether the broker answers a heartbeat of the robot with this key."""
        context: sockets.Context = zmq.Context()
        own, server = load(key), load_public(key.parent / f"broker@{broker}.pub")
        front = self.brokers[broker].front
        socket = sockets.dealer(context, front, f"{own.peer.name}:1", key=own, server=server)
        beat = messages.encode(Header(Kind.HEARTBEAT, token=1), Heartbeat(progress=1))
        try:
            if not socket.poll(2000, zmq.POLLOUT) or not sockets.send(socket, beat):
                return False
            return bool(socket.poll(2000))
        finally:
            context.destroy(linger=0)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with ExitStack() as closed:
        yield Site(tmp_path, closed)


@pytest.fixture
def secrets_stay(site: Site) -> Iterator[None]:
    """No secret of any file is in what the brokers log."""
    yield
    secrets = [
        line.split()[1]
        for path in (*site.root.rglob("*.key"), *site.root.rglob("*.token"))
        for line in path.read_text().splitlines()
        if line.startswith("secret ")
    ]
    logged = "".join(path.read_text() for path in site.root.rglob("log"))
    assert len(secrets) >= 3 and "has enrolled" in logged, "there is something to look for, and at"
    assert not [secret for secret in secrets if secret in logged]


@pytest.mark.slow
@pytest.mark.usefixtures("secrets_stay")
def test_a_key_that_enrolled_at_one_broker_is_accepted_by_both(site: Site) -> None:
    """Also while the first is dead and the other starts anew; once it is revoked, by neither."""
    token = site.token("r1")
    key = site.enrol("r1", token)
    assert key.stat().st_mode & 0o777 == 0o600
    wait_until(lambda: site.is_heard(key, "a"), "a hears it", within_s=WITHIN_S)
    wait_until(lambda: site.is_heard(key, "b"), "b hears it", within_s=WITHIN_S)
    with pytest.raises(RefusedError, match="spent"):
        site.enrol("r1", token, file="thief.key")
    first = key.read_text()
    token.unlink()
    token = site.token("r1")
    assert site.enrol("r1", token).read_text() == first, "another token changes no good key"

    for name in "ab":
        site.brokers[name].process.kill()
        site.brokers[name].process.wait()
    site.brokers["b"].launch()
    wait_until(lambda: site.is_heard(key, "b"), "b hears it alone", within_s=WITHIN_S)
    assert revoke(site.keys["b"], "r1")
    wait_until(lambda: not site.is_heard(key, "b"), "b has revoked it", within_s=WITHIN_S)
    site.brokers["a"].launch()
    wait_until(lambda: not site.is_heard(key, "a"), "and so has a", within_s=WITHIN_S)


@pytest.mark.usefixtures("secrets_stay")
def test_of_two_peers_with_one_token_one_enrols(site: Site) -> None:
    """The other is refused for good, and its key is not accepted."""
    token, ends = site.token("pick/*", Role.REPLICA), {}

    def race(name: str) -> None:
        try:
            site.enrol(name, token)
            ends[name] = "enrolled"
        except RefusedError as error:
            ends[name] = str(error)

    racers = [threading.Thread(target=race, args=(f"pick/{k}",)) for k in range(2)]
    for each in racers:
        each.start()
    for each in racers:
        each.join(WITHIN_S)
    won = [name for name, end in ends.items() if end == "enrolled"]
    assert len(won) == 1 and len(ends) == 2, ends
    assert "spent" in next(end for end in ends.values() if end != "enrolled")
    (accepted,) = site.keys["a"].glob("enrolled/broker@a/*.pub")
    assert load_public(accepted).peer.name == won[0]


@pytest.mark.usefixtures("secrets_stay")
def test_a_broker_that_is_killed_while_it_enrols_does_so_once(site: Site) -> None:
    """Between what it writes and its answer: the peer asks again, and has its one key."""
    token = site.token("r1")
    broker = site.brokers["a"]
    made: list[Path] = []
    peer = threading.Thread(target=lambda: made.append(site.enrol("r1", token)))
    peer.start()
    # The first file that it writes: its answer, and what else it writes, come later or never.
    wait_until(lambda: list(site.keys["a"].glob("enrolled/*/*")), within_s=WITHIN_S, every_s=0.0)
    broker.process.kill()
    broker.process.wait()
    broker.launch()
    peer.join(WITHIN_S)
    assert made, "the peer has enrolled"
    wait_until(lambda: site.is_heard(made[0], "a"), within_s=WITHIN_S)
    with pytest.raises(RefusedError, match="spent"):
        site.enrol("r1", token, file="thief.key")


def test_a_token_opens_nothing_but_the_enrolment(site: Site) -> None:
    """No message but ENROL is answered; expired, withdrawn, or of another name it enrols none."""
    token = site.token("r1", lasts_s=-5)
    with pytest.raises(RefusedError, match="expired"):
        site.enrol("r1", token)
    with pytest.raises(RefusedError, match="is for r1, not for r2"):
        site.enrol("r2", token)
    held = load_token(token)
    context: sockets.Context = zmq.Context()
    front = site.brokers["a"].front
    socket = sockets.dealer(context, front, "r1:1", key=held.key, server=held.broker)
    assert socket.poll(30_000, zmq.POLLOUT)
    beat = messages.encode(Header(Kind.HEARTBEAT, token=1), Heartbeat(progress=1))
    asked = messages.encode(Header(Kind.ENROL, token=2), Enrol(name="r1", key="x"))
    assert sockets.send(socket, beat) and sockets.send(socket, asked)
    assert socket.poll(30_000)
    frames = sockets.receive(socket)
    assert frames is not None and messages.decode(frames).header.token == 2, "no beat was answered"
    context.destroy(linger=0)
    assert revoke(site.keys["a"], held.id) == [f"the token {held.id}"]
    said: list[str] = []

    def wait(what: str) -> None:
        said.append(what)
        if "withdrawn" in what:
            raise KeyError(what)

    key = site.root / "peer" / "r1.key"
    # In the handshake or, until the broker has looked at its files again, by its answer.
    with pytest.raises((KeyError, RefusedError), match="withdrawn"):
        OwnKeys("r1", site.files(key, token), [front]).wait(wait, patient=False)


class RunningPeer:
    """The robot `r1` as its actor runs it: one connection to broker `a`, and keys that renew."""

    def __init__(self, site: Site, token: Path) -> None:
        front = site.brokers["a"].front
        self.keys = OwnKeys("r1", site.files(site.root / "peer" / "r1.key", token), (front,))
        self._context: sockets.Context = zmq.Context()
        self.keys.wait(lambda _what: None)
        own, server = self.keys.of(0)
        self._connection = Connection(
            self._context, front, "r1:1", key=own, server=server, lost_after_ns=500_000_000
        )

    def is_heard(self) -> bool:
        """Whether the broker has answered a heartbeat since the last call."""
        now_ns = time.monotonic_ns()
        self._connection.connected()
        if self.keys.follow([self._connection.condition], now_ns):
            self._connection.rekey(*self.keys.of(0))
        self._connection.tick(now_ns)
        beat = messages.encode(Header(Kind.HEARTBEAT, token=1), Heartbeat(progress=1))
        sockets.send(self._connection.socket, beat)
        heard = sockets.receive(self._connection.socket) is not None
        if heard:
            self._connection.heard(now_ns)
        return heard

    def waits_for(self, words: str) -> bool:
        """Whether it says so of its keys, in its next turn."""
        self.is_heard()
        return words in self.keys.reason

    def close(self) -> None:
        self.keys.close()
        self._connection.close()
        self._context.destroy(linger=0)


@pytest.mark.timeout(180)
@pytest.mark.usefixtures("secrets_stay")
def test_a_peer_that_runs_takes_up_the_next_good_token(site: Site) -> None:
    """Once its key is refused; what is no good token is named, and costs nothing."""
    token = site.token("r1")
    with closing(RunningPeer(site, token)) as peer:
        wait_until(peer.is_heard, "it is heard", within_s=WITHIN_S)
        first = load(site.root / "peer" / "r1.key")
        assert revoke(site.keys["a"], "r1")
        wait_until(lambda: peer.waits_for("made the key that is not accepted any more"))
        token.unlink()
        wait_until(lambda: peer.waits_for(f"no token in {token}"))
        token.write_text("no token\n")
        wait_until(lambda: peer.waits_for("holds no token"))
        token.unlink()
        site.token("r1", lasts_s=-5)
        wait_until(lambda: peer.waits_for("the token has expired: make a new one"))
        token.unlink()
        site.token("r1").chmod(0o644)
        wait_until(lambda: peer.waits_for(f"chmod 600 {token}"))
        token.chmod(0o600)
        wait_until(peer.is_heard, "it is heard with another key", within_s=WITHIN_S)
        assert load(site.root / "peer" / "r1.key").public != first.public
        assert not peer.keys.reason
