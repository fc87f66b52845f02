"""`ClientService`: the service behind a port for clients, as each of them uses it."""

from __future__ import annotations

import itertools
import logging
import os
import socket
import time
from collections import Counter
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from ...policy.base import PolicySpec
from ...transport import sockets
from ...transport.bodies import Open, Request
from ...transport.images import Pixels
from ...transport.messages import Blobs
from ..runtime.actor import Actor
from ..runtime.client_configs import GrootConfig, OpenpiConfig
from ..runtime.own_keys import OwnKeys
from .client_log import ClientLog
from .client_stops import ClientStops
from .service_caller import ServiceCaller

KIND = "client"
"""Of their sessions, for the status."""
SLACK_S = 0.5
"""The deadline of a client's requests: robots whose plan runs out sooner are served first."""


class ClientService:
    """The service `name` at the `broker`, with a policy of `spec`; `counts` of what happened, and
    `said` what is written about it."""

    def __init__(
        self,
        name: str,
        spec: PolicySpec,
        context: sockets.Context,
        broker: str,
        keys: OwnKeys,
        incarnation: int,
        log: logging.Logger,
        stops: ClientStops,
    ) -> None:
        self.name, self.spec = name, spec
        self.counts: Counter[str] = Counter()
        self.said = ClientLog(log)
        self._context, self._broker, self._keys = context, broker, keys
        self._incarnation = incarnation
        self._stops = stops
        # Epochs rise over restarts too: the broker forgets an old session late.
        self._epochs = itertools.count(time.monotonic_ns() // 100_000_000 & 0xFFFFFFF)

    @classmethod
    def behind(cls, port: Actor, spec: PolicySpec, context: sockets.Context) -> ClientService:
        """The service of the actor `port`, by its config, once the port has its keys."""
        config: OpenpiConfig | GrootConfig = port.config
        keys = OwnKeys(port.name, config.keys, (config.broker,))
        keys.wait(port.wait_for)
        port.resources.callback(keys.close)
        stops = ClientStops(config.stops, config.keyring)
        return cls(
            config.service, spec, context, config.broker, keys, port.incarnation, port.log, stops
        )

    def caller(self, client: str) -> ServiceCaller:
        """A session for the `client` of this name. Within a running loop."""
        opening = Open(
            robot=client,
            service=self.name,
            action_names=self.spec.action_names,
            state_names=self.spec.state_names,
            cameras={c.name: (c.width, c.height) for c in self.spec.cameras},
            fps=self.spec.fps,
            control_mode=self.spec.control_mode,
            incarnation=self._incarnation,
            host=socket.gethostname(),
            pid=os.getpid(),
            kind=KIND,
        )
        return ServiceCaller(
            self._context, self._broker, opening, self._epochs, self._keys, self._stops
        )

    @staticmethod
    def request(
        state: NDArray[np.float32], images: Mapping[str, Pixels], prompt: str
    ) -> tuple[Request, Blobs]:
        """The request of an observation: state, images by the policy's camera names and at its
        sizes, and instruction."""
        blobs = Blobs()
        body = Request(
            state=blobs.array(state),
            images={name: blobs.image(pixels) for name, pixels in images.items()},
            task=prompt,
            slack_s=SLACK_S,
        )
        return body, blobs
