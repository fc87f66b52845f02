"""The addresses that a broker binds, and those that it refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import zmq

from holdfast.actors.broker.broker import BrokerActor
from holdfast.actors.broker.listener import Listener
from holdfast.actors.runtime.actor import EXIT_REFUSED, boot_in_memory
from holdfast.actors.runtime.link_messages import ExitReason
from holdfast.tests.actors.broker.live_broker import (
    LiveBroker,
)
from holdfast.tests.actors.broker.test_broker import Start
from holdfast.transport import sockets


def test_a_broker_off_loopback_refuses_to_start_without_keys(tmp_path: Path) -> None:
    """The reason names the remedy, `insecure: true`."""
    config = {"front": "tcp://0.0.0.0:0", "back": "tcp://127.0.0.1:0"}
    boot, actor_link, supervisor = boot_in_memory("broker", "broker", config, rundir=tmp_path)
    assert BrokerActor(boot, actor_link).main() == EXIT_REFUSED
    (stopped,), _ = supervisor.messages()
    assert isinstance(stopped, ExitReason)
    assert "insecure: true" in stopped.reason
    actor_link.close()
    supervisor.close()


def test_an_insecure_broker_says_so_in_its_status(start_broker: Start) -> None:
    """The board's report has `insecure`."""
    broker = start_broker(front="tcp://0.0.0.0:*", insecure=True)
    assert broker.until(lambda s: s.get("insecure"))


def test_a_listener_serves_ipc_and_tcp_at_once(tmp_path: Path) -> None:
    """Peers of both kinds are heard and answered by the same socket."""
    context: Any = zmq.Context()
    own = f"ipc://{tmp_path}/front"
    listener = Listener(context, own, "tcp://localhost:*")
    tcp = listener.socket.getsockopt_string(zmq.LAST_ENDPOINT)
    assert tcp.startswith("tcp://127.0.0.1:")
    near, far = sockets.dealer(context, own, "near:1"), sockets.dealer(context, tcp, "far:1")
    for peer in (near, far):
        peer.send(b"hello")
        assert listener.socket.poll(60_000)
        arrival = listener.receive()
        assert arrival is not None
        assert listener.send([arrival.identity, b"welcome"]) is None
        assert peer.poll(60_000) and peer.recv() == b"welcome"
        peer.close()
    listener.close(linger_ms=0)
    context.destroy(linger=0)


def test_an_address_of_another_machine_is_refused_with_its_remedy(
    tmp_path: Path,
) -> None:
    """The error differs from that of an address in use."""
    context: Any = zmq.Context()
    with pytest.raises(RuntimeError, match="no such address: mend `hosts`"):
        Listener(context, f"ipc://{tmp_path}/front", "tcp://192.0.2.1:7447", insecure=True)
    context.destroy(linger=0)


def test_an_address_in_use_is_refused_with_its_remedy(broker: LiveBroker) -> None:
    """The error says that another fleet may run there."""
    context: Any = zmq.Context()
    first = Listener(context, "tcp://127.0.0.1:*")
    taken = first.socket.getsockopt_string(zmq.LAST_ENDPOINT)
    with pytest.raises(RuntimeError, match="another fleet may run here"):
        Listener(context, taken)
    first.close(linger_ms=0)
    context.destroy(linger=0)
