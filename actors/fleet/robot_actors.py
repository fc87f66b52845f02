"""The actors of one robot: its driver, its sensors, its network and its control."""

from __future__ import annotations

from ..control.config import ControlConfig
from ..recorder.record_settings import RecorderConfig, RecordSettings
from ..recorder.strategy_settings import BaseSettings
from ..runtime.configs import CameraFeed, NetworkConfig
from ..runtime.device_configs import (
    DriverConfig,
    DriverFrames,
    SensorConfig,
    SpecConfig,
    TeleopConfig,
)
from ..runtime.executed_config import ExecutedConfig
from ..runtime.spec import ActorSpec
from . import segment_uses
from .host_context import HostContext
from .robot_entry import CameraEntry, RobotEntry, TeleopEntry
from .specs import robot_spec


def driver(context: HostContext, robot: RobotEntry) -> ActorSpec:
    spec = robot_spec(context.fleet, robot)
    state = segment_uses.state(robot, spec, writable=True)
    command = segment_uses.command(robot, spec)
    scene = [segment_uses.scene(robot, writable=True)] if robot.driver == "sim" else []
    delivered = {name: camera for name, camera in robot.cameras.items() if camera.driver == "robot"}
    frames = {
        name: segment_uses.frames(context.fleet, robot, name, writable=True) for name in delivered
    }
    safety = robot.safety
    config = DriverConfig(
        robot=robot.name,
        driver=robot.driver,
        options=robot.options,
        spec=SpecConfig.of(spec),
        state=state.name,
        command=command.name,
        scene=scene[0].name if scene else None,
        import_path=context.fleet.import_path,
        cameras={
            name: DriverFrames(
                segment=frames[name].name,
                width=camera.width,
                height=camera.height,
                fps=camera.fps,
                offset_ms=camera.offset_ms,
                frozen_after_s=camera.frozen_after_s,
            )
            for name, camera in delivered.items()
        },
        wake=context.wake(robot),
        state_dir=context.evidence,
        tick_ns=round(1e9 / (robot.fps * robot.interpolate)),
        interpolate=robot.interpolate,
        io_timeout_s=safety.io_timeout_s,
        connect_timeout_s=safety.connect_timeout_s,
        at_stop=safety.at_stop,
        park_timeout_s=safety.safe_stop_timeout_s,
        keyring=context.fleet.security.keys,
    )
    return context.spec(
        "driver",
        f"{robot.name}/driver",
        config,
        [state, command, *scene, *frames.values()],
        robot,
        python=robot.python,
        stop_timeout_s=safety.safe_stop_timeout_s + 1.0 if safety.at_stop == "park" else 0.0,
    )


def sensor(context: HostContext, robot: RobotEntry, name: str, camera: CameraEntry) -> ActorSpec:
    frames = segment_uses.frames(context.fleet, robot, name, writable=True)
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
        import_path=context.fleet.import_path,
        offset_ms=camera.offset_ms,
        frozen_after_s=camera.frozen_after_s,
    )
    return context.spec(
        "sensor",
        f"{robot.name}/{name}",
        config,
        [frames, *scene],
        robot,
        after=[f"{robot.name}/driver"],
        python=camera.python,
    )


def teleoperator(context: HostContext, robot: RobotEntry, teleop: TeleopEntry) -> ActorSpec:
    spec = robot_spec(context.fleet, robot)
    register = segment_uses.teleop(robot, spec, writable=True)
    plan = segment_uses.plan(robot)
    state = [] if robot.in_process else [segment_uses.state(robot, spec)]
    scene = [segment_uses.scene(robot)] if robot.driver == "sim" and not robot.in_process else []
    config = TeleopConfig(
        robot=robot.name,
        driver=teleop.driver,
        options=teleop.options,
        rename=teleop.rename,
        spec=SpecConfig.of(spec),
        register=register.name,
        plan=plan.name,
        state=state[0].name if state else None,
        scene=scene[0].name if scene else None,
        period_ns=round(1e9 / (robot.fps * robot.interpolate)),
        fps=robot.fps,
        import_path=context.fleet.import_path,
    )
    return context.spec(
        "teleoperator",
        f"{robot.name}/teleop",
        config,
        [register, plan, *state, *scene],
        robot,
        after=[f"{robot.name}/driver"],
        python=teleop.python,
    )


def network(context: HostContext, robot: RobotEntry) -> ActorSpec:
    service = context.fleet.services[robot.service]
    own = robot_spec(context.fleet, robot)
    frames = [segment_uses.frames(context.fleet, robot, name) for name in robot.cameras]
    near = segment_uses.is_near(service, robot)
    outbox = [segment_uses.outbox(context.fleet, robot, writable=True)] if near else []
    plan = segment_uses.plan(robot)
    config = NetworkConfig(
        robot=robot.name,
        evidence=context.evidence,
        host=robot.host,
        service=robot.service,
        control=context.own_endpoint(robot),
        brokers=context.endpoints("front", robot.host),
        cameras={
            robot.rename.get(name, name): CameraFeed(
                segment=ring.name, width=camera.width, height=camera.height
            )
            for ring, (name, camera) in zip(frames, robot.cameras.items(), strict=True)
        },
        state_names=tuple(robot.rename.get(n, n) for n in own.state_names),
        action_names=tuple(robot.rename.get(n, n) for n in own.action_names),
        outbox=outbox[0].name if near else None,
        direct_late_s=context.fleet.broker.direct_late_s,
        resize=robot.images.resize,
        jpeg_quality=robot.images.jpeg_quality,
        max_uplink_kbps=robot.images.max_uplink_kbps,
        max_frame_age_s=robot.images.max_frame_age_s,
        history_steps=segment_uses.history_steps(context.fleet, robot),
        heartbeat_s=context.fleet.broker.heartbeat_s,
        tags=robot.tags,
        plan=plan.name,
        fps=robot.fps,
        executed_bytes=context.fleet.logs.executed_mb * 1_000_000,
        keys=context.keys.files(robot.name),
        keyring=context.fleet.security.keys,
    )
    return context.spec(
        "network",
        f"{robot.name}/network",
        config,
        [*frames, *outbox, plan],
        robot,
        after=["broker"],
    )


def executed(context: HostContext, robot: RobotEntry) -> ActorSpec:
    """The log of a robot without a service, which has no network actor."""
    own, plan = robot_spec(context.fleet, robot), segment_uses.plan(robot)
    config = ExecutedConfig(
        robot=robot.name,
        state_names=tuple(robot.rename.get(n, n) for n in own.state_names),
        action_names=tuple(robot.rename.get(n, n) for n in own.action_names),
        plan=plan.name,
        fps=robot.fps,
        executed_bytes=context.fleet.logs.executed_mb * 1_000_000,
        evidence=context.evidence,
    )
    return context.spec("executed", f"{robot.name}/executed", config, [plan], robot)


def recorder(context: HostContext, robot: RobotEntry, record: RecordSettings) -> ActorSpec:
    own = robot_spec(context.fleet, robot)
    frames = {name: segment_uses.frames(context.fleet, robot, name) for name in robot.cameras}
    plan, board = segment_uses.plan(robot), segment_uses.control_board(robot)
    teleop = [segment_uses.teleop(robot, own)] if robot.teleop else []
    driver = [] if robot.in_process else [segment_uses.driver_board(robot)]
    config = RecorderConfig(
        robot=robot.name,
        record=record,
        fps=robot.fps,
        state_names=tuple(robot.rename.get(n, n) for n in own.state_names),
        action_names=tuple(robot.rename.get(n, n) for n in own.action_names),
        plan=plan.name,
        board=board.name,
        cameras={
            robot.rename.get(name, name): CameraFeed(
                segment=frames[name].name, width=camera.width, height=camera.height
            )
            for name, camera in robot.cameras.items()
        },
        robot_type=robot.driver,
        strategy=BaseSettings() if robot.strategy == "base" else robot.strategy,
        joints=own.action_names,
        teleop=teleop[0].name if teleop else None,
        driver_board=driver[0].name if driver else None,
    )
    return context.spec(
        "recorder",
        f"{robot.name}/recorder",
        config,
        [*frames.values(), plan, board, *teleop, *driver],
        robot,
        after=[f"{robot.name}/control"],
    )


def control(context: HostContext, robot: RobotEntry) -> ActorSpec:
    plan = segment_uses.plan(robot, writable=True)
    pauses = segment_uses.pauses()
    spec = robot_spec(context.fleet, robot)
    registers = (
        []
        if robot.in_process
        else [
            segment_uses.state(robot, spec),
            segment_uses.command(robot, spec, writable=True),
            segment_uses.driver_board(robot),
        ]
    )
    teleop = [segment_uses.teleop(robot, spec)] if robot.teleop else []
    config = ControlConfig(
        robot=robot.name,
        service=robot.service,
        endpoint=context.own_endpoint(robot),
        plan=plan.name,
        fps=robot.fps,
        interpolate=robot.interpolate,
        task=robot.task,
        spec=SpecConfig.of(spec),
        state=registers[0].name if registers else None,
        command=registers[1].name if registers else None,
        teleop=teleop[0].name if teleop else None,
        driver_board=registers[2].name if registers else None,
        wake=context.wake(robot),
        in_process=robot.in_process,
        driver=robot.driver if robot.in_process else "",
        options=robot.options if robot.in_process else {},
        import_path=context.fleet.import_path if robot.in_process else None,
        state_dir=context.evidence,
        keyring=context.fleet.security.keys if robot.in_process else None,
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
        [plan, pauses, *registers, *teleop],
        robot,
        after=["witness", f"{robot.name}/driver", f"{robot.name}/network"],
    )
