"""A fleet as processes: what each actor of one host is told, and which memory it shares.

The order of the list is the start order; the reverse is the order of the stop. Pure: the same fleet
and host always give the same list.
"""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Literal

import msgspec

from ...errors import Fault, FleetError
from ...robot.sim.devices import SimOptions
from ...transport import sockets
from ...transport.frames import FrameRing
from ...transport.outbox import Outbox
from ...transport.seqlock import Seqlock
from ..control.config import ControlConfig
from ..control.plan_memory import SEGMENT_BYTES
from ..jitter_probe import KEPT
from ..runtime.configs import (
    BrokerConfig,
    CameraFeed,
    DriverConfig,
    GatewayConfig,
    InferenceConfig,
    JitterProbeConfig,
    NetworkConfig,
    SensorConfig,
)
from ..runtime.kinds import modules_of
from ..runtime.spec import ActorSpec, Member, SegmentUse
from ..runtime.status_board import BOARD_SIZE
from ..runtime.suggestions import closest
from .checks import policy_spec, ports_of, robot_spec
from .schema import (
    CameraEntry,
    FleetFile,
    RobotEntry,
    ServiceEntry,
    memory_mb_of,
    rules_of,
    spares_of,
)

COMMAND_BYTES = 4096
"""Room for one command to a simulated world, of any arm."""

_PAUSE_BYTES = 16
_IMAGE_ALIGNMENT = 64


def here(fleet: FleetFile, host: str | None) -> str | None:
    """The host of `fleet` that this machine is; None for a fleet without hosts.

    Raises FleetError when it is none of them.
    """
    if not fleet.hosts:
        if host is None:
            return None
        message = f"no host {host!r}: this fleet has no `hosts`; leave --host away"
        raise FleetError(fleet.name, [Fault("$.hosts", message)])
    found = host or socket.gethostname()
    if found not in fleet.hosts:
        message = f"this machine is {found!r}, none of them; {closest(found, fleet.hosts)} (--host)"
        raise FleetError(fleet.name, [Fault("$.hosts", message)])
    return found


def expand(
    fleet: FleetFile, host: str | None, rundir: Path, evidence: Path | None = None
) -> list[ActorSpec]:
    """The actors of `fleet` on `host` (see `here`), in start order. Their sockets are in `rundir`,
    their audit and captures in `evidence`.

    Raises FleetError for keys that this host lacks, and PolicyError for a checkpoint that has
    vanished since the fleet was loaded.
    """
    expansion = _Expansion(fleet, host, rundir, evidence or rundir)
    made = expansion.actors()
    missing = [path for path in sorted(expansion.key_files) if not path.is_file()]
    if missing:
        names = ", ".join(path.name for path in missing)
        message = f"{fleet.security.keys} lacks {names}; `actorctl keys new NAME` makes them"
        raise FleetError(fleet.name, [Fault("$.security.keys", message)])
    return made


def front_address(fleet: FleetFile) -> str | None:
    """Where robots of other hosts reach the broker; None for a fleet without hosts."""
    return _address(fleet, ports_of(fleet.broker)[0])


def back_address(fleet: FleetFile) -> str | None:
    """Where replicas of other hosts do."""
    return _address(fleet, ports_of(fleet.broker)[1])


def _address(fleet: FleetFile, port: int) -> str | None:
    host = fleet.broker.host
    return None if host is None else f"tcp://{fleet.hosts[host].address}:{port}"


class _Expansion:
    def __init__(self, fleet: FleetFile, host: str | None, rundir: Path, evidence: Path) -> None:
        self.fleet = fleet
        self.host = host
        self.rundir = rundir
        self.evidence = str(evidence)
        self.groups = {
            member: group
            for group, members in fleet.supervision.groups.items()
            for member in members
        }
        self.known: set[str] = set()
        self.key_files: set[Path] = set()

    def actors(self) -> list[ActorSpec]:
        fleet = self.fleet
        robots = [robot for robot in fleet.robots if robot.host == self.host]
        made = [self.witness(robots)] if robots else []
        if fleet.broker.host == self.host:
            made.append(self.broker())
        for name, service in fleet.services.items():
            if service.host == self.host:
                made += [self.replica(name, service, k) for k in range(service.replicas)]
        simulated = [robot for robot in robots if robot.driver == "sim"]
        made += [self.world(robot) for robot in simulated]
        made += [
            self.sensor(robot, name, camera)
            for robot in robots
            for name, camera in robot.cameras.items()
        ]
        made += [self.network(robot) for robot in robots]
        made += [self.control(robot) for robot in robots]
        if fleet.gateway.enabled and fleet.broker.host == self.host:
            made.append(self.gateway(robots))
        return made

    def witness(self, robots: list[RobotEntry]) -> ActorSpec:
        pauses = _pauses(writable=True)
        rate = max(robot.fps * robot.interpolate for robot in robots)
        return self.spec(
            "witness", "witness", JitterProbeConfig(segment=pauses.name, rate_hz=rate), [pauses]
        )

    def broker(self) -> ActorSpec:
        broker = self.fleet.broker
        config = BrokerConfig(
            front=sockets.ipc(self.rundir, "broker.front"),
            back=sockets.ipc(self.rundir, "broker.back"),
            front_tcp=front_address(self.fleet),
            back_tcp=back_address(self.fleet),
            heartbeat_s=broker.heartbeat_s,
            replica_lost_after_s=broker.replica_lost_after_s,
            robot_lost_after_s=broker.robot_lost_after_s,
            session_idle_s=broker.session_idle_s,
            key=self.key("broker", "key"),
            keyring=self.fleet.security.keys,
            insecure=self.fleet.security.insecure,
        )
        return self.spec("broker", "broker", config, [])

    def replica(self, name: str, service: ServiceEntry, k: int) -> ActorSpec:
        robots = [robot for robot in self.fleet.robots if robot.service == name]
        near = [robot for robot in robots if robot.host == service.host]
        outboxes = {robot.name: self.outbox(robot, writable=False) for robot in near}
        config = InferenceConfig(
            service=name,
            evidence=self.evidence,
            replica=k,
            broker=self.endpoint("back", service.host),
            policy=service.policy,
            checkpoint=service.checkpoint,
            options=service.options,
            device=service.device,
            dtype=service.dtype,
            threads=service.threads,
            max_sessions=service.max_sessions,
            max_batch=service.max_batch,
            max_wait_ms=service.max_wait_ms,
            scheduling=service.scheduling,
            pin_task=service.pin_task,
            default_task=service.default_task,
            strict_fps=service.strict_fps,
            heartbeat_s=self.fleet.broker.heartbeat_s,
            outboxes={robot: outbox.name for robot, outbox in outboxes.items()},
            request_timeout_s=max((r.safety.request_timeout_s for r in robots), default=5.0),
            buffer_time_s=max((r.plan.buffer_time_s for r in robots), default=0.5),
            drain_s=service.drain_s,
            audit_bytes=service.audit_bytes,
            capture_bytes=service.capture_bytes,
            key=self.key(f"{name}/{k}", "key"),
            broker_key=self.key("broker", "pub"),
        )
        return self.spec(
            "inference", f"{name}/{k}", config, list(outboxes.values()), after=["broker"]
        )

    def world(self, robot: RobotEntry) -> ActorSpec:
        scene, command = _scene(robot, writable=True), _command(robot)
        config = DriverConfig(
            robot=robot.name,
            scene=scene.name,
            command=command.name,
            seed=msgspec.convert(robot.options, SimOptions).seed,
        )
        return self.spec("world", f"{robot.name}/world", config, [scene, command], robot)

    def sensor(self, robot: RobotEntry, name: str, camera: CameraEntry) -> ActorSpec:
        frames = _frames(robot, name, writable=True)
        scene = [_scene(robot)] if camera.driver == "sim" else []
        config = SensorConfig(
            robot=robot.name,
            camera=name,
            driver=camera.driver,
            width=camera.width,
            height=camera.height,
            fps=camera.fps,
            segment=frames.name,
            scene=scene[0].name if scene else None,
            options=camera.options,
        )
        return self.spec(
            "sensor",
            f"{robot.name}/{name}",
            config,
            [frames, *scene],
            robot,
            after=[f"{robot.name}/world"],
        )

    def network(self, robot: RobotEntry) -> ActorSpec:
        service = self.fleet.services[robot.service]
        own = robot_spec(robot)
        assert own is not None, "faults_of refuses a driver without a spec"
        frames = [_frames(robot, name) for name in robot.cameras]
        near = service.host == robot.host
        outbox = self.outbox(robot, writable=True)
        config = NetworkConfig(
            robot=robot.name,
            evidence=self.evidence,
            service=robot.service,
            control=self.own_endpoint(robot),
            broker=self.endpoint("front", robot.host),
            cameras={
                robot.rename.get(name, name): CameraFeed(
                    segment=ring.name, width=camera.width, height=camera.height
                )
                for ring, (name, camera) in zip(frames, robot.cameras.items(), strict=True)
            },
            state_names=tuple(robot.rename.get(n, n) for n in own.state_names),
            action_names=tuple(robot.rename.get(n, n) for n in own.action_names),
            outbox=outbox.name if near else None,
            resize=robot.images.resize,
            jpeg_quality=robot.images.jpeg_quality,
            max_frame_age_s=robot.images.max_frame_age_s,
            heartbeat_s=self.fleet.broker.heartbeat_s,
            tags=robot.tags,
            key=self.key(robot.name, "key"),
            broker_key=self.key("broker", "pub"),
        )
        return self.spec(
            "network",
            f"{robot.name}/network",
            config,
            [*frames, outbox] if near else frames,
            robot,
            after=["broker"],
        )

    def control(self, robot: RobotEntry) -> ActorSpec:
        plan = SegmentUse(f"{robot.name}/plan", SEGMENT_BYTES, writable=True)
        pauses = _pauses()
        simulated = robot.driver == "sim"
        world = [_scene(robot), _command(robot, writable=True)] if simulated else []
        config = ControlConfig(
            robot=robot.name,
            driver=robot.driver,
            service=robot.service,
            endpoint=self.own_endpoint(robot),
            plan=plan.name,
            fps=robot.fps,
            interpolate=robot.interpolate,
            task=robot.task,
            options=robot.options,
            scene=world[0].name if world else None,
            command=world[1].name if world else None,
            witness=pauses.name,
            plan_settings=robot.plan,
            safety=robot.safety,
            timing=robot.timing,
            tags=robot.tags,
        )
        return self.spec(
            "control",
            f"{robot.name}/control",
            config,
            [plan, pauses, *world],
            robot,
            after=["witness", f"{robot.name}/world", f"{robot.name}/network"],
        )

    def gateway(self, robots: list[RobotEntry]) -> ActorSpec:
        rings = {
            f"{robot.name}/{name}": _frames(robot, name)
            for robot in robots
            for name in robot.cameras
        }
        config = GatewayConfig(
            host=self.fleet.gateway.host,
            port=self.fleet.gateway.port,
            metrics=self.fleet.gateway.metrics,
            cameras={camera: ring.name for camera, ring in rings.items()},
        )
        return self.spec("gateway", "gateway", config, list(rings.values()))

    def key(self, name: str, half: str) -> str | None:
        """The path of somebody's key file, which has to be there; None without security."""
        if self.fleet.security.keys is None:
            return None
        path = Path(self.fleet.security.keys) / f"{name.replace('/', '@')}.{half}"
        self.key_files.add(path)
        return str(path)

    def spec(
        self,
        kind: str,
        name: str,
        config: msgspec.Struct,
        segments: list[SegmentUse],
        robot: RobotEntry | None = None,
        after: list[str] | None = None,
    ) -> ActorSpec:
        before = [other for other in after or [] if other in self.known]
        self.known.add(name)
        return ActorSpec(
            kind=kind,
            member=Member(name, rules_of(self.fleet, kind), tuple(before), self.groups.get(name)),
            # By way of JSON, so that it equals itself after travelling: no tuples.
            config=msgspec.json.decode(msgspec.json.encode(config)),
            segments=(SegmentUse(f"{name}/board", BOARD_SIZE, writable=True), *segments),
            robot=None if robot is None else robot.name,
            memory_mb=memory_mb_of(self.fleet, kind),
            warm=modules_of(kind, getattr(config, "policy", None), getattr(config, "driver", None)),
            spares=spares_of(self.fleet, kind),
        )

    def endpoint(self, end: Literal["front", "back"], host: str | None) -> str:
        """Where somebody on `host` reaches the broker: by a socket file on its own host."""
        address = front_address(self.fleet) if end == "front" else back_address(self.fleet)
        if address is None or host == self.fleet.broker.host:
            return sockets.ipc(self.rundir, f"broker.{end}")
        return address

    def own_endpoint(self, robot: RobotEntry) -> str:
        return sockets.ipc(self.rundir, f"{robot.name}.network")

    def outbox(self, robot: RobotEntry, writable: bool) -> SegmentUse:
        """Room for the images of one request, at the size in which they travel."""
        policy = policy_spec(self.fleet.services[robot.service])
        sizes = [(camera.width, camera.height) for camera in policy.cameras]
        if robot.images.resize == "server":
            sizes = [(camera.width, camera.height) for camera in robot.cameras.values()]
        capacity = sum(w * h * 3 + _IMAGE_ALIGNMENT for w, h in sizes)
        return SegmentUse(f"{robot.name}/outbox", Outbox.size_for(capacity), writable)


def _frames(robot: RobotEntry, name: str, writable: bool = False) -> SegmentUse:
    camera = robot.cameras[name]
    size = FrameRing.size_for((camera.height, camera.width, 3))
    return SegmentUse(f"{robot.name}/{name}", size, writable)


def _scene(robot: RobotEntry, writable: bool = False) -> SegmentUse:
    from ...robot.sim import scene

    return SegmentUse(f"{robot.name}/scene", Seqlock.size_for(scene.SIZE), writable)


def _command(robot: RobotEntry, writable: bool = False) -> SegmentUse:
    return SegmentUse(f"{robot.name}/command", Seqlock.size_for(COMMAND_BYTES), writable)


def _pauses(writable: bool = False) -> SegmentUse:
    return SegmentUse("witness/pauses", Seqlock.size_for(KEPT * _PAUSE_BYTES), writable)
