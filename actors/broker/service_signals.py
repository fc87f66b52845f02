"""`ServiceSignals`: what replicas and robots say about the load of each service, and from it how
many replicas it should have. Pure."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

from ..runtime.configs import ServiceTarget
from .replicas import Replica
from .router_state import RouterState
from .scaling import Scaling, Signals

STEP_NS = 1_000_000_000


class ServiceSignals:
    """Of all services. `targets`: what the fleet file says of each; others have none."""

    def __init__(self, targets: dict[str, ServiceTarget]) -> None:
        self.targets = targets
        self._scaling: dict[str, Scaling] = {}
        self._stepped_ns = 0

    def tick(self, state: RouterState, now_ns: int) -> None:
        """Once a second, let the signals of each service count."""
        if now_ns - self._stepped_ns < STEP_NS:
            return
        self._stepped_ns = now_ns
        loads = state.placement.loads()
        served = set(state.registry.services())
        for gone in self._scaling.keys() - served - self.targets.keys():
            del self._scaling[gone]
        for service in served | self.targets.keys():
            target = self.targets.get(service, ServiceTarget())
            scaling = self._scaling.setdefault(service, Scaling(target))
            scaling.aim(target)
            waiting = state.waiting.count(service)
            scaling.step(_signals(state.registry.of(service), loads, waiting), now_ns)

    def row(self, service: str, replicas: list[Replica], waiting: int) -> dict[str, Any]:
        """What the status has of `service`: see `broker_report.ServiceRow`."""
        scaling = self._scaling.get(service)
        target = self.targets.get(service, ServiceTarget())
        queues = [replica.demand.queue_ms for replica in replicas]
        return {
            "waiting": waiting,
            "offered": round(sum(replica.demand.offered for replica in replicas), 3),
            "requests_per_s": round(sum(r.requests.per_s for r in replicas), 2),
            "misses_per_s": round(sum(r.misses.per_s for r in replicas), 2),
            "superseded_per_s": round(sum(r.superseded.per_s for r in replicas), 2),
            "queue_ms": {
                name: max(found)
                for name in ("p50", "p95")
                if (found := [queue[name] for queue in queues if name in queue])
            },
            "latency_ms": _latency_ms(replicas),
            "slo_ms": target.slo_ms,
            "wanted": scaling.wanted if scaling else None,
            "why_wanted": scaling.why if scaling else "",
        }


def _signals(replicas: list[Replica], loads: Counter[bytes], waiting: int) -> Signals:
    staying = [replica for replica in replicas if not replica.draining]
    robots = sum(loads[replica.identity] for replica in replicas)
    offered = sum(replica.demand.offered for replica in replicas)
    places = [replica.offer.capacity for replica in staying]
    # More replicas take no more robots than the service may have.
    limit = max((replica.offer.service_limit for replica in replicas), default=0)
    admissible = min(robots + waiting, limit) if limit else robots + waiting
    each = offered / robots if robots else 0.0
    return Signals(
        ready=len(staying),
        offered=offered + each * max(0, admissible - robots),
        seats=admissible / (sum(places) / len(places)) if sum(places) else 0.0,
        requests_per_s=sum(replica.requests.per_s for replica in replicas),
        misses_per_s=sum(replica.misses.per_s for replica in replicas),
        p95_ms=_latency_ms(replicas).get("p95"),
        load_s=max((replica.offer.load_s for replica in replicas), default=0.0),
    )


def _latency_ms(replicas: list[Replica]) -> dict[str, float]:
    """`p50` and `p95` of the last answers; empty while there are no requests."""
    values = [ns for r in replicas if r.requests.per_s > 0 for ns in r.answers_ns]
    if not values:
        return {}
    p50, p95 = np.percentile(values, (50, 95)) / 1e6
    return {"p50": round(float(p50), 2), "p95": round(float(p95), 2)}
