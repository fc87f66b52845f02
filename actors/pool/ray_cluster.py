"""`RayCluster`: the actors of one pool on a Ray cluster, by number. The only module that imports
ray.

They are named and detached: they outlive the pool's process, and the next one finds them. Ray
starts them again when their process or their node dies (`max_restarts=-1`), and repeats no call
(`max_task_retries=0`): requests are replayed by the broker.
"""

from __future__ import annotations

import logging
import os
from contextlib import suppress
from typing import Any

from ...errors import RefusedError
from .pooled_replica import PooledReplica

# Ray reads it when it is imported.
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

try:
    import ray
    from ray.exceptions import RayError
except ImportError as missing:
    raise RefusedError(
        f"{missing}: a pool on Ray needs `pip install 'holdfast[ray]'` in the supervisor's "
        "interpreter and on every node, in the version of the cluster"
    ) from missing

ASKED_S = 5.0


class RayReplica(PooledReplica):
    """A `PooledReplica` as Ray makes it."""

    def __init__(self, name: str, config: dict[str, Any], configuration: str, lease_s: float):
        context = ray.get_runtime_context()
        node = f"node {context.get_node_id()[:8]}"
        own = context.current_actor
        super().__init__(
            name, config, configuration, node, lease_s, end=lambda: ray.kill(own, no_restart=True)
        )


class RayCluster:
    """The actors `<service>/<number>` in `namespace`. Raises ConnectionError where there is no
    cluster at `address`; every call does RayError or one of its own when the cluster is lost."""

    def __init__(self, address: str, namespace: str, service: str) -> None:
        self._service, self._namespace = service, namespace
        self._handles: dict[int, Any] = {}
        self._visits: dict[int, Any] = {}
        try:
            ray.init(
                address=address,
                namespace=namespace,
                log_to_driver=False,
                logging_level=logging.WARNING,
            )
        except (ConnectionError, RayError, ValueError, RuntimeError) as error:
            raise ConnectionError(
                f"no Ray cluster at {address!r}: {error}; this machine has to be one of its nodes "
                "(`ray start --address=...`), and its Ray and Python of the cluster's versions"
            ) from error

    def find(self) -> list[int]:
        """The numbers of the actors that live, or are started again by Ray."""
        names = ray.util.list_named_actors(all_namespaces=True)
        found = set()
        for each in names:
            service, _, number = each["name"].rpartition("/")
            if each["namespace"] == self._namespace and service == self._service:
                found.add(int(number))
        for gone in self._handles.keys() - found:
            self._forget(gone)
        for new in found - self._handles.keys():
            with suppress(ValueError):  # of an actor that has ended since it was listed
                self._handles[new] = ray.get_actor(self._named(new), self._namespace)
        return sorted(self._handles)

    def start(
        self, number: int, config: dict[str, Any], configuration: str, gpu: bool, lease_s: float
    ) -> None:
        """Make the actor of that number, where the cluster has room for it."""
        options = ray.remote(RayReplica).options(
            name=self._named(number),
            namespace=self._namespace,
            lifetime="detached",
            get_if_exists=True,
            max_restarts=-1,
            max_task_retries=0,
            max_concurrency=4,
            num_cpus=1,
            num_gpus=1 if gpu else 0,
            scheduling_strategy="SPREAD",
        )
        self._handles[number] = options.remote(self._named(number), config, configuration, lease_s)

    def visit(self, after: dict[int, int]) -> dict[int, dict[str, Any]]:
        """The answers that came since the last call; those that have answered are asked again, for
        their log lines after the number in `after`."""
        for number, handle in self._handles.items():
            if number not in self._visits:
                self._visits[number] = handle.visit.remote(after.get(number, 0))
        done, _ = (
            ray.wait(list(self._visits.values()), num_returns=len(self._visits), timeout=0.2)
            if self._visits
            else ([], [])
        )
        answers = {}
        for number, visit in list(self._visits.items()):
            if visit in done:
                del self._visits[number]
                try:
                    answers[number] = ray.get(visit, timeout=ASKED_S)
                except RayError:
                    continue  # it died, or is started again: the next call finds out
        return answers

    def drain(self, number: int) -> None:
        """Let it hand over its robots."""
        self._handles[number].drain.remote()

    def end(self, number: int, restart: bool = False) -> None:
        """Kill it; with `restart` Ray starts it again."""
        ray.kill(self._handles[number], no_restart=not restart)
        self._visits.pop(number, None)
        if not restart:
            self._forget(number)

    def close(self) -> None:
        """Leave the cluster; its actors stay."""
        ray.shutdown()

    def _named(self, number: int) -> str:
        return f"{self._service}/{number}"

    def _forget(self, number: int) -> None:
        self._handles.pop(number, None)
        self._visits.pop(number, None)
