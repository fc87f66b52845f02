"""Several hosts on one machine: network namespaces with a wire of ours between them, at packet
level, so that delay, loss and cuts do not depend on which queueing disciplines a kernel was built
with."""

from __future__ import annotations

import fcntl
import heapq
import os
import random
import select
import shutil
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import psutil
import pytest
import yaml

from holdfast.tests.e2e.conftest import FleetProcess, StartFleet, row
from holdfast.tests.waiting import wait_until

TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 0x0001, 0x1000


@dataclass
class Wire:
    """Tunnel interfaces, each in a namespace, and the thread that carries packets between them.

    `delay_s` is one-way; `loss` a probability per packet; `cut` loses everything, `apart`
    everything from and to the namespaces in it, and `torn` everything between two of them.
    `forget` loses the TCP connections of that moment, in silence.
    """

    names: tuple[str, ...]
    addresses: tuple[str, ...]
    delay_s: float = 0.0
    loss: float = 0.0
    cut: bool = False
    apart: set[str] = field(default_factory=set)
    torn: set[frozenset[str]] = field(default_factory=set)
    carried: int = 0
    lost: int = 0
    _flows: set[Flow] = field(default_factory=set)
    _forgotten: set[Flow] = field(default_factory=set)
    _fds: list[int] = field(default_factory=list)
    _by_address: dict[bytes, int] = field(default_factory=dict)
    _devices: list[str] = field(default_factory=list)

    def lay(self) -> None:
        for namespace, address in zip(self.names, self.addresses, strict=True):
            device = f"w{len(self._fds)}-{os.getpid()}"
            fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
            self._fds.append(fd)
            self._devices.append(device)
            self._by_address[socket.inet_aton(address)] = fd
            fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH", device.encode(), IFF_TUN | IFF_NO_PI))
            ip("netns", "add", namespace)
            ip("link", "set", device, "netns", namespace)
            ip("-n", namespace, "addr", "add", f"{address}/24", "dev", device)
            ip("-n", namespace, "link", "set", "lo", "up")
            ip("-n", namespace, "link", "set", device, "up", "mtu", "9000")
        self._stop, self._wake = os.pipe()
        self._thread = threading.Thread(target=self._carry, daemon=True)
        self._thread.start()

    def readdress(self, host: int, address: str) -> None:
        """Give a host another address, as a robot that comes to another access point gets one; what
        is sent to the old one is lost."""
        namespace, device = self.names[host], self._devices[host]
        ip("-n", namespace, "addr", "flush", "dev", device)
        ip("-n", namespace, "addr", "add", f"{address}/24", "dev", device)
        fd = self._by_address.pop(socket.inet_aton(self.addresses[host]))
        self._by_address[socket.inet_aton(address)] = fd

    def forget(self) -> None:
        """Lose what every TCP connection of now still sends, without an answer to either end, as a
        NAT or a relay does that dropped its entries."""
        self._forgotten = set(self._flows)

    def remove(self) -> None:
        if hasattr(self, "_thread"):
            os.close(self._wake)
            self._thread.join(60)
            os.close(self._stop)
        for fd in self._fds:
            os.close(fd)
        for namespace in self.names:
            subprocess.run(["ip", "netns", "del", namespace], check=False, capture_output=True)

    def _carry(self) -> None:
        rng = random.Random(1)
        due: list[tuple[float, int, int, bytes]] = []
        names = dict(zip(self._fds, self.names, strict=True))
        while True:
            patience_s = max(0.0, due[0][0] - time.monotonic()) if due else None
            ready, _, _ = select.select([*self._fds, self._stop], [], [], patience_s)
            if self._stop in ready:
                return
            for fd in ready:
                packet = os.read(fd, 65536)
                to = self._by_address.get(packet[16:20])  # of IPv4; other packets have no host here
                if to is None:
                    continue
                ends = frozenset((names[fd], names[to]))
                flow = _flow(packet)
                apart = ends & self.apart or ends in self.torn or flow in self._forgotten
                if flow is not None:
                    self._flows.add(flow)
                if self.cut or apart or rng.random() < self.loss:
                    self.lost += 1
                else:
                    self.carried += 1
                    at_s = time.monotonic() + self.delay_s
                    heapq.heappush(due, (at_s, self.carried, to, packet))
            while due and due[0][0] <= time.monotonic():
                _, _, fd, packet = heapq.heappop(due)
                try:
                    os.write(fd, packet)
                except BlockingIOError:
                    self.lost += 1  # the far end's queue is full: a real wire drops it too


Flow = frozenset[bytes]
"""The two ends of a TCP connection, each an address and a port."""


def _flow(packet: bytes) -> Flow | None:
    """The connection of an IPv4 packet; None for another protocol than TCP."""
    header = (packet[0] & 15) * 4
    if packet[9] != socket.IPPROTO_TCP:
        return None
    ports = packet[header : header + 4]
    return frozenset((packet[12:16] + ports[:2], packet[16:20] + ports[2:]))


def ip(*words: str) -> None:
    done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"ip {' '.join(words)}: {done.stderr}"


def _possible() -> str | None:
    """Why this machine cannot have two hosts; None if it can."""
    if os.getuid() != 0:
        return "network namespaces need root"
    if shutil.which("ip") is None:
        return "needs iproute2"
    if not os.path.exists("/dev/net/tun"):  # noqa: PTH110  a device
        return "needs /dev/net/tun"
    name = f"hf-probe-{os.getpid()}"
    done = subprocess.run(["ip", "netns", "add", name], capture_output=True, text=True, check=False)
    if done.returncode:
        return f"no network namespaces here: {done.stderr.strip()}"
    subprocess.run(["ip", "netns", "del", name], check=True)
    return None


@pytest.fixture
def wire() -> Iterator[Wire]:
    """A robot's host and a GPU's, each in its namespace, 10.77.0.1 and 10.77.0.2."""
    with laid("cell", "gpu") as wire:
        yield wire


@contextmanager
def laid(*hosts: str) -> Iterator[Wire]:
    """A wire between `hosts`, each in its namespace, 10.77.0.1, 10.77.0.2 and so on."""
    if why := _possible():
        pytest.skip(why)
    names = tuple(f"hf-{host}-{os.getpid()}" for host in hosts)
    wire = Wire(names, tuple(f"10.77.0.{k}" for k in range(1, len(hosts) + 1)))
    try:
        wire.lay()
        yield wire
    finally:
        wire.remove()


def site_file(
    folder: Path,
    name: str,
    hosts: Sequence[str],
    *,
    brokers: Sequence[str],
    serve: Sequence[str],
    robots: Mapping[str, str] | None = None,
    **values: Any,
) -> Path:
    """A fleet file for `hosts`, with the addresses of `laid`: `brokers` and `serve` are the hosts
    with a broker, and with a replica of the service `pick`; `robots` have their host each, `r1` on
    `cell` unless said. `values` are added to the file, or take the place of what is there."""
    broker = {"host": brokers[0]} if len(brokers) == 1 else {"hosts": list(brokers)}
    pick = {
        "policy": "constant",
        "checkpoint": "conveyor-flow",
        "options": {"delay_s": 0.03},
        "placements": [{"host": host} for host in serve],
    }
    entries = [
        {
            "name": robot,
            "host": host,
            "options": {"seed": 1},
            "service": "pick",
            "cameras": {eye: {"width": 128, "height": 96} for eye in ("overhead", "wrist")},
            # Another way is found within half a second (properties/test_two_brokers_machine.py),
            # which a busy machine makes longer: so much of the plan is left when the robot asks.
            "plan": {"buffer_time_s": 1.3},
            "safety": {"max_offline_s": 120},
        }
        for robot, host in (robots or {"r1": "cell"}).items()
    ]
    whole = {
        "name": name,
        "hosts": {host: {"address": f"10.77.0.{k}"} for k, host in enumerate(hosts, 1)},
        "broker": broker,
        "security": {"insecure": True},
        "gateway": {"enabled": False},
        "supervision": {"policy_spare": False},
        "services": {"pick": pick},
        "robots": entries,
        **values,
    }
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(whole, sort_keys=False))
    return path


def started(
    start_fleet: StartFleet, fleet: Path, namespaces: dict[str, str]
) -> dict[str, FleetProcess]:
    """The part of each host of a fleet file, in its namespace and with folders beside the file."""
    return {
        host: start_fleet(
            "--host",
            host,
            fleet=fleet,
            inside=("ip", "netns", "exec", namespace),
            environment={
                "HOLDFAST_RUNTIME": str(fleet.with_name(f"{host}-run")),
                "HOLDFAST_STATE": str(fleet.with_name(f"{host}-state")),
            },
        )
        for host, namespace in namespaces.items()
    }


@dataclass
class SpreadFleet:
    """One fleet on several hosts: its parts by host, in the order of the wire's namespaces."""

    wire: Wire
    parts: dict[str, FleetProcess]

    @classmethod
    def started(cls, start_fleet: StartFleet, fleet: Path, wire: Wire, *hosts: str) -> Self:
        """All parts of the fleet file, host by host in the namespaces of `wire`; the robot's host,
        `cell`, streams."""
        parts = started(start_fleet, fleet, dict(zip(hosts, wire.names, strict=True)))
        parts["cell"].streaming()
        return cls(wire, parts)

    def status(self, host: str) -> dict[str, Any]:
        """As `actorctl status` has it, without the second of processor time that its start takes:
        that would be a robot's here. Waits for the host's supervisor to answer."""
        return wait_until(self.parts[host].asked, f"the supervisor of {host} answers")

    def robot(self) -> dict[str, Any]:
        return row(self.status("cell")["robots"], "r1")

    def namespace(self, host: str) -> str:
        return dict(zip(self.parts, self.wire.names, strict=True))[host]


def kill(part: FleetProcess) -> None:
    """SIGKILL everything of a host: what a power failure leaves behind, but for closed sockets."""
    top = psutil.Process(part.process.pid)
    processes = [top, *top.children(recursive=True)]
    for process in processes:
        process.suspend()  # or the supervisor's death would let the others end in order
    for process in processes:
        process.kill()
    part.process.wait(60)
