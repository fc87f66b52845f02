"""The names, types, labels and meanings of every metric: an interface, only ever added to.

Base units, seconds and bytes. Labels name actors, robots, services: never a pid, which would make a
new series of every restart. Counters go on over restarts where the actor's memory does, and begin
at zero where not; `rate()` copes with both. metrics.md is this table for people.
"""

from __future__ import annotations

from typing import Literal, NamedTuple


class Family(NamedTuple):
    """One metric."""

    kind: Literal["gauge", "counter", "histogram"]
    labels: tuple[str, ...]
    about: str


_NONE: tuple[str, ...] = ()
_ACTOR = ("actor", "kind")
_ROBOT = ("robot",)
_REPLICA = ("actor", "service")
_SERVICE = ("service",)
_GUEST = ("robot", "where")
_GUEST_ACTOR = ("actor", "where", "kind")
_GUEST_REPLICA = ("replica", "where", "service")


def _of_link(prefix: str, labels: tuple[str, ...]) -> dict[str, Family]:
    """What is known of a robot's link to its broker."""
    about = {
        "uplink_request_bytes": "Size of its last request.",
        "uplink_bytes_per_second": "What it sent to its broker in the last 5 s.",
        "uplink_limit_bytes_per_second": "Its max_uplink_kbps; 0 without one.",
        "uplink_jpeg_quality": "JPEG quality of its images; 0: raw, or in shared memory.",
        "heartbeat_round_trip_seconds": "From its last heartbeat to the broker's answer.",
        "heartbeat_waiting_seconds": "For how long a heartbeat has awaited its answer, else 0.",
    }
    limited = Family("gauge", (*labels, "what"), "1 while max_uplink_kbps lowers this, else 0.")
    gauges = {f"{prefix}_{name}": Family("gauge", labels, text) for name, text in about.items()}
    return {**gauges, f"{prefix}_uplink_limited": limited}


FAMILIES: dict[str, Family] = {
    "holdfast_supervisor_up": Family("gauge", _NONE, "1 while the supervisor answers, else 0."),
    "holdfast_report_age_seconds": Family("gauge", _NONE, "Age of what the rest was read from."),
    "holdfast_fleet_healthy": Family("gauge", _NONE, "1 while nothing needs a person, else 0."),
    "holdfast_fleet_uptime_seconds": Family("gauge", _NONE, "Time since the fleet's start."),
    "holdfast_host_info": Family(
        "gauge", ("host",), "1: the host that these metrics are of, by its name in fleet.yaml."
    ),
    "holdfast_robot_info": Family(
        "gauge",
        ("robot", "tag_NAME"),
        "1: a robot of this host, with a label for each of its `tags` in fleet.yaml.",
    ),
    "holdfast_actor_up": Family("gauge", _ACTOR, "1 while the actor is READY, else 0."),
    "holdfast_actor_state": Family(
        "gauge", ("actor", "state"), "1 for the state that the actor is in, 0 for the others."
    ),
    "holdfast_actor_restarts_total": Family("counter", _ACTOR, "Restarts since the fleet's start."),
    "holdfast_actor_uptime_seconds": Family("gauge", _ACTOR, "Age of this incarnation."),
    "holdfast_actor_progress_age_seconds": Family(
        "gauge", _ACTOR, "Time since the actor's own loop last made progress."
    ),
    "holdfast_actor_memory_bytes": Family("gauge", _ACTOR, "Memory of the actor's process."),
    "holdfast_robot_state": Family(
        "gauge", ("robot", "state"), "1 for the fail-safe state of the robot, 0 for the others."
    ),
    "holdfast_robot_action_age_seconds": Family(
        "gauge", _ROBOT, "Staleness: age of the observation that the next action was made from."
    ),
    "holdfast_robot_sessions_total": Family(
        "counter", _ROBOT, "Sessions asked for: each reconnection asks for one."
    ),
    "holdfast_robot_ticks_total": Family("counter", _ROBOT, "Ticks of the control loop."),
    "holdfast_robot_missed_ticks_total": Family(
        "counter",
        ("robot", "cause"),
        "Ticks missed by the loop itself (control), while the machine paused, as the witness "
        "saw, or kept it waiting for a processor (machine), or while no "
        "control process was there (restart).",
    ),
    "holdfast_robot_tick_lateness_seconds": Family(
        "histogram", _ROBOT, "How late ticks began. Without a sum."
    ),
    "holdfast_robot_tick_lateness_recent_seconds": Family(
        "gauge", ("robot", "quantile"), "How late ticks began, over the last 60 s."
    ),
    "holdfast_robot_plan_seconds": Family("gauge", _ROBOT, "Playback left in the plan."),
    "holdfast_robot_requests_total": Family("counter", _ROBOT, "Requests for chunks."),
    "holdfast_robot_chunks_merged_total": Family("counter", _ROBOT, "Chunks merged into the plan."),
    "holdfast_robot_dropped_total": Family(
        "counter", ("robot", "reason"), "Chunks that were not merged, by reason."
    ),
    "holdfast_robot_request_latency_seconds": Family(
        "gauge", ("robot", "quantile"), "Request to merge, over the last 100 requests."
    ),
    "holdfast_robot_stalled_ticks_total": Family(
        "counter", _ROBOT, "Ticks for which the plan had no action though one was due."
    ),
    "holdfast_robot_fallback_ticks_total": Family(
        "counter", _ROBOT, "Ticks in which the fallback stood in for an action."
    ),
    "holdfast_robot_stale_actions_dropped_total": Family(
        "counter", _ROBOT, "Actions dropped because their observation was too old."
    ),
    "holdfast_robot_void_actions_dropped_total": Family(
        "counter",
        _ROBOT,
        "Actions dropped because the driver was gone when they were due, or the robot's limits "
        "refused the plan.",
    ),
    "holdfast_robot_driver_gaps_total": Family(
        "counter", _ROBOT, "How often the robot's state stood still: its driver was gone."
    ),
    "holdfast_robot_refused_commands_total": Family(
        "counter", ("robot", "reason"), "Actions beyond the robot's limits, not sent to it."
    ),
    "holdfast_robot_refusing_seconds": Family(
        "gauge", _ROBOT, "For how long every action has been beyond the robot's limits, else 0."
    ),
    "holdfast_robot_emergency_stop": Family(
        "gauge", _ROBOT, "1 while its emergency stop is engaged, else 0."
    ),
    "holdfast_robot_emergency_stop_unconfirmed": Family(
        "gauge",
        _ROBOT,
        "1 while its emergency stop is engaged and its device has not confirmed it, else 0.",
    ),
    "holdfast_robot_warnings": Family("gauge", _ROBOT, "Warnings of the present handshake."),
    **_of_link("holdfast_robot", _ROBOT),
    "holdfast_robot_episodes_total": Family("counter", _ROBOT, "Attempts that have ended."),
    "holdfast_robot_successes_total": Family("counter", _ROBOT, "Attempts that succeeded."),
    "holdfast_camera_frames_total": Family("counter", ("actor",), "Frames of this incarnation."),
    "holdfast_camera_frame_age_seconds": Family(
        "gauge", ("actor",), "Age of the newest frame when the sensor reported."
    ),
    "holdfast_recorder_rows_total": Family(
        "counter", ("actor",), "Policy steps recorded by this incarnation."
    ),
    "holdfast_recorder_episodes_saved_total": Family(
        "counter", ("actor",), "Episodes made durable by this incarnation."
    ),
    "holdfast_recorder_images_repeated_total": Family(
        "counter", ("actor",), "Recorded images that stand for one that was not there."
    ),
    "holdfast_recorder_dropped_total": Family(
        "counter", ("actor",), "Ticks and images that the recorder was too slow for."
    ),
    "holdfast_recorder_paused": Family(
        "gauge", ("actor",), "1 while the recorder cannot record, else 0."
    ),
    "holdfast_known_broker_up": Family(
        "gauge", ("address",), "1 while an actor of this host reaches this broker, else 0."
    ),
    "holdfast_known_broker_reachable_seconds": Family(
        "gauge", ("address",), "For how long an actor of this host has reached this broker."
    ),
    "holdfast_known_broker_user": Family(
        "gauge", ("address", "user"), "1: this robot or replica uses this broker."
    ),
    "holdfast_network_sent_bytes_total": Family(
        "counter", ("actor",), "Sent towards the broker by this incarnation."
    ),
    "holdfast_network_received_bytes_total": Family(
        "counter", ("actor",), "Received from the broker by this incarnation."
    ),
    "holdfast_network_reconnects_total": Family(
        "counter", ("actor",), "Connections to the broker that were made anew by this incarnation."
    ),
    "holdfast_replica_load_ratio": Family(
        "gauge", _REPLICA, "Share of the last 5 s in which the device worked."
    ),
    "holdfast_replica_sessions": Family("gauge", _REPLICA, "Robots served."),
    "holdfast_replica_sessions_limit": Family("gauge", _REPLICA, "Robots that may be served."),
    "holdfast_replica_queue": Family("gauge", _REPLICA, "Requests that wait."),
    "holdfast_replica_inference_seconds": Family(
        "gauge", (*_REPLICA, "quantile"), "Duration of the last 512 batches."
    ),
    "holdfast_replica_queue_seconds": Family(
        "gauge", (*_REPLICA, "quantile"), "How long the last 512 requests waited."
    ),
    "holdfast_replica_requests_total": Family(
        "counter", (*_REPLICA, "outcome"), "Requests by what became of them."
    ),
    "holdfast_replica_batches_total": Family(
        "counter", (*_REPLICA, "size"), "Batches of this incarnation, by size."
    ),
    "holdfast_broker_sessions": Family("gauge", _NONE, "Open sessions."),
    "holdfast_broker_replicas": Family("gauge", _NONE, "Registered replicas."),
    "holdfast_broker_events_total": Family(
        "counter", ("event",), "What the broker counts: requests, replies, replays, each refusal."
    ),
    "holdfast_service_replicas": Family("gauge", _SERVICE, "Registered replicas of the service."),
    "holdfast_service_replicas_wanted": Family(
        "gauge", _SERVICE, "How many replicas its load, its robots and its objective need."
    ),
    "holdfast_service_sessions": Family("gauge", _SERVICE, "Robots that it serves."),
    "holdfast_service_robots_waiting": Family("gauge", _SERVICE, "Robots without a place."),
    "holdfast_service_offered_load": Family(
        "gauge",
        _SERVICE,
        "Request rate times service time over all replicas: how many devices its robots would use.",
    ),
    "holdfast_service_requests_per_second": Family("gauge", _SERVICE, "Requests that arrive."),
    "holdfast_service_slack_misses_per_second": Family(
        "gauge", _SERVICE, "Requests answered after their robot's slack, or not at all."
    ),
    "holdfast_service_superseded_per_second": Family(
        "gauge", _SERVICE, "Requests that a newer one of their robot replaced."
    ),
    "holdfast_service_queue_seconds": Family(
        "gauge",
        (*_SERVICE, "quantile"),
        "How long requests of the last 10 s waited at the busiest replica.",
    ),
    "holdfast_service_latency_seconds": Family(
        "gauge", (*_SERVICE, "quantile"), "From a request at the broker to its answer there."
    ),
    "holdfast_service_slo_seconds": Family(
        "gauge", _SERVICE, "Within which 95 % of requests are to be answered (`slo_ms`)."
    ),
    "holdfast_site_robot_state": Family(
        "gauge",
        (*_GUEST, "state"),
        "1 for the state of a robot of a script or another host, 0 for the others.",
    ),
    "holdfast_site_robot_plan_seconds": Family("gauge", _GUEST, "Playback left in its plan."),
    "holdfast_site_robot_steps_per_second": Family("gauge", _GUEST, "Its loop's real rate."),
    "holdfast_site_robot_steps_total": Family(
        "counter",
        (*_GUEST, "outcome"),
        "Its policy steps: taken, missed by its loop, without an action (stalled), refused by its "
        "limits.",
    ),
    "holdfast_site_robot_dropped_total": Family(
        "counter", (*_GUEST, "reason"), "Its chunks that were not merged, by reason."
    ),
    "holdfast_site_robot_request_latency_seconds": Family(
        "gauge", (*_GUEST, "quantile"), "Its requests, from asking to having the chunk."
    ),
    "holdfast_site_robot_emergency_stop": Family(
        "gauge", _GUEST, "1 while an emergency stop holds it, else 0."
    ),
    "holdfast_site_robot_warnings": Family("gauge", _GUEST, "Warnings of its present handshake."),
    **_of_link("holdfast_site_robot", _GUEST),
    "holdfast_site_robot_silent_seconds": Family(
        "gauge", _GUEST, "Time since the broker last heard of it: how old its other figures are."
    ),
    "holdfast_site_actor_up": Family(
        "gauge", _GUEST_ACTOR, "1 while an actor of another host is READY, else 0."
    ),
    "holdfast_site_actor_restarts_total": Family(
        "counter", _GUEST_ACTOR, "Its restarts since its host's start."
    ),
    "holdfast_site_actor_progress_age_seconds": Family(
        "gauge", _GUEST_ACTOR, "Time since its own loop last made progress."
    ),
    "holdfast_site_actor_memory_bytes": Family("gauge", _GUEST_ACTOR, "Memory of its process."),
    "holdfast_site_replica_load_ratio": Family(
        "gauge", _GUEST_REPLICA, "Load of a replica of a script or another host."
    ),
    "holdfast_site_replica_sessions": Family("gauge", _GUEST_REPLICA, "Robots it serves."),
    "holdfast_site_replica_sessions_limit": Family("gauge", _GUEST_REPLICA, "Robots it may serve."),
    "holdfast_site_replica_progress_age_seconds": Family(
        "gauge", _GUEST_REPLICA, "Time since the broker last heard of its progress."
    ),
    "holdfast_witness_ticks_total": Family("counter", _NONE, "Wake-ups of the witness."),
    "holdfast_witness_pauses_total": Family(
        "counter", _NONE, "Wake-ups that came a quarter of a period late or more."
    ),
    "holdfast_witness_oversleep_seconds": Family(
        "gauge", ("quantile",), "How late the witness woke up, over its last 1024 wake-ups."
    ),
    "holdfast_gateway_pages": Family("gauge", _NONE, "Dashboard pages that are open."),
}
