"""The actors of one robot: its driver, its sensors, its network and its control."""

from __future__ import annotations

import msgspec

from ...robot.sim.devices import SimOptions
from ..control.config import ControlConfig
from ..control.plan_memory import SEGMENT_BYTES
from ..runtime.configs import CameraFeed, DriverConfig, NetworkConfig, SensorConfig
from ..runtime.spec import ActorSpec, SegmentUse
from . import segment_uses
from .host_context import HostContext
from .schema import CameraEntry, RobotEntry
from .specs import robot_spec


def world(context: HostContext, robot: RobotEntry) -> ActorSpec:
    scene, command = segment_uses.scene(robot, writable=True), segment_uses.command(robot)
    config = DriverConfig(
        robot=robot.name,
        scene=scene.name,
        command=command.name,
        seed=msgspec.convert(robot.options, SimOptions).seed,
    )
    return context.spec("world", f"{robot.name}/world", config, [scene, command], robot)


def sensor(context: HostContext, robot: RobotEntry, name: str, camera: CameraEntry) -> ActorSpec:
    frames = segment_uses.frames(robot, name, writable=True)
    scene = [segment_uses.scene(robot)] if camera.driver == "sim" else []
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
    return context.spec(
        "sensor",
        f"{robot.name}/{name}",
        config,
        [frames, *scene],
        robot,
        after=[f"{robot.name}/world"],
    )


def network(context: HostContext, robot: RobotEntry) -> ActorSpec:
    service = context.fleet.services[robot.service]
    own = robot_spec(robot)
    assert own is not None, "faults_of refuses a driver without a spec"
    frames = [segment_uses.frames(robot, name) for name in robot.cameras]
    near = service.host == robot.host
    outbox = segment_uses.outbox(context.fleet, robot, writable=True)
    config = NetworkConfig(
        robot=robot.name,
        evidence=context.evidence,
        service=robot.service,
        control=context.own_endpoint(robot),
        broker=context.endpoint("front", robot.host),
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
        heartbeat_s=context.fleet.broker.heartbeat_s,
        tags=robot.tags,
        key=context.key(robot.name, "key"),
        broker_key=context.key("broker", "pub"),
    )
    return context.spec(
        "network",
        f"{robot.name}/network",
        config,
        [*frames, outbox] if near else frames,
        robot,
        after=["broker"],
    )


def control(context: HostContext, robot: RobotEntry) -> ActorSpec:
    plan = SegmentUse(f"{robot.name}/plan", SEGMENT_BYTES, writable=True)
    pauses = segment_uses.pauses()
    simulated = robot.driver == "sim"
    world = (
        [segment_uses.scene(robot), segment_uses.command(robot, writable=True)] if simulated else []
    )
    config = ControlConfig(
        robot=robot.name,
        driver=robot.driver,
        service=robot.service,
        endpoint=context.own_endpoint(robot),
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
    return context.spec(
        "control",
        f"{robot.name}/control",
        config,
        [plan, pauses, *world],
        robot,
        after=["witness", f"{robot.name}/world", f"{robot.name}/network"],
    )
