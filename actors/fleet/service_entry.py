"""A service of fleet.yaml: its policy, its limits, and where its replicas run."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from ..runtime.configs import Scheduling
from .entry_values import DEVICE, Bytes, Device, Host, Python, Replicas, Seconds


class PlacementEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Replicas of a service on one device of one host. Without a `python` it is the service's.

    With `pool: ray` they are actors on the Ray cluster at `address`, between `min` and `max` of
    them, as many as the service wants. Ray chooses the nodes, and the GPU where `device` is cuda.
    """

    host: Host = None
    device: Device = "cpu"
    replicas: Replicas | None = None
    python: Python = None
    pool: Literal["ray"] | None = None
    address: Annotated[
        str | None,
        Meta(
            description="of a pool: auto, the cluster of which the broker's host is a node, or its "
            "HOST:PORT"
        ),
    ] = None
    min: Replicas | None = None
    max: Replicas | None = None


class ServiceEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One policy that robots may use, and the processes that serve it.

    They are `replicas` processes on one `device` of one `host`, or those that `placements` list.
    """

    policy: Annotated[
        str,
        Meta(
            description="the kind of policy, e.g. flow or lerobot, or module:Class or "
            "module:function beside this file"
        ),
    ] = ""
    checkpoint: Annotated[
        str | None,
        Meta(
            description="a checkpoint's directory, or the name of a shipped one; your own policy "
            "gets what is written here as its keyword `checkpoint`"
        ),
    ] = None
    address: (
        Annotated[
            str,
            Meta(
                pattern=r"^(wss?|tcp)://[^\s/]+\Z",
                description="of a running server: ws://host:port for policy openpi, "
                "tcp://host:port for groot",
            ),
        ]
        | None
    ) = None
    revision: Annotated[
        str | None,
        Meta(
            description="of a checkpoint that a hub has: a commit, tag or branch; your own policy "
            "gets it as its keyword `revision`"
        ),
    ] = None
    options: Annotated[
        dict[str, Any],
        Meta(
            description="of the policy's kind: graphs (auto, or off for no CUDA graphs); for flow "
            "also euler_steps, prefix, and with prefix guided the fields of its guidance; for your "
            "own policy its keywords"
        ),
    ] = {}
    device: (
        Annotated[
            str,
            Meta(
                pattern=DEVICE,
                description="cpu, cuda, cuda:N or mps; without it cpu",
            ),
        ]
        | None
    ) = None
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    threads: Annotated[int, Meta(ge=1, le=1024, description="processor threads, 1 to 1024")] = 1
    replicas: Annotated[
        Annotated[int, Meta(ge=1, le=64)] | Literal["external"] | None,
        Meta(
            description="processes on one host, 1 to 64, without it 1; or external: scripts that "
            "call holdfast.serve"
        ),
    ] = None
    host: Host = None
    placements: Annotated[
        list[PlacementEntry],
        Meta(
            description="several devices, of one host or of several, in place of host, device and "
            "replicas; the replicas are numbered in this order"
        ),
    ] = []
    max_sessions: Annotated[
        int, Meta(ge=1, le=10_000, description="robots at all replicas together, 1 to 10000")
    ] = 8
    slo_ms: (
        Annotated[
            float,
            Meta(
                gt=0,
                le=1e6,
                description="milliseconds, more than 0, within which 95 % of requests are to be "
                "answered: how many replicas are wanted follows from it; without it, within the "
                "robots' slack",
            ),
        ]
        | None
    ) = None
    scale_down_after_s: Annotated[
        float,
        Meta(
            gt=0,
            le=1e6,
            description="seconds for which the load must fit one replica less before it is wanted",
        ),
    ] = 60.0
    max_batch: Annotated[int, Meta(ge=1, le=1024, description="requests, 1 to 1024")] = 4
    max_wait_ms: Annotated[float, Meta(ge=0, le=10_000, description="milliseconds, 0 to 10000")] = (
        4.0
    )
    scheduling: Scheduling = "deadline"
    pin_task: str | None = None
    default_task: str = ""
    strict_fps: bool = False
    python: Python = None
    drain_s: Seconds = 2.0
    audit_bytes: Bytes = 16_000_000
    capture_bytes: Bytes = 0

    @property
    def all_options(self) -> dict[str, Any]:
        """The options, with the address where there is one."""
        return {**self.options, **({"address": self.address} if self.address else {})}

    @property
    def external(self) -> bool:
        """Whether scripts serve it: then its policy is not known from the file."""
        return self.replicas == "external"
