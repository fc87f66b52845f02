"""The control actor, with real sockets and shared memory, against a server under test control."""

from __future__ import annotations

import mmap
from dataclasses import replace
from time import monotonic_ns

import msgspec
import pytest

from holdfast.actors.control.plan_memory import PLAN_BYTES, Word
from holdfast.actors.control.tick_log import TickReader, TickRecord
from holdfast.actors.runtime.actor import EXIT_DEAD, EXIT_REFUSED, EXIT_STOPPED
from holdfast.robot.base import ControlMode
from holdfast.tests.actors.control.cell_states import in_order, is_streaming, running, unhurried
from holdfast.tests.actors.control.conftest import SPEC, Cell
from holdfast.tests.waiting import wait_until
from holdfast.transport.bodies import Reject, Vitals
from holdfast.transport.header import Kind


def test_a_plan_is_played_in_order_and_the_actor_stops_on_command(cell: Cell) -> None:
    """`stop` ends the session, closes the robot and exits with EXIT_STOPPED."""
    running(unhurried(cell))
    wait_until(lambda: is_streaming(cell) and cell.status()["merged"] > 3, "some merges")
    cell.stop()
    assert in_order(cell.played())
    assert cell.exit_code == EXIT_STOPPED
    assert cell.robot.closed
    assert cell.status()["stalled_ticks"] == 0
    wait_until(lambda: Kind.CLOSE in cell.server.kinds(), "its CLOSE")


def test_a_request_carries_the_rest_of_the_plan_and_the_expected_delay(cell: Cell) -> None:
    """The prefix is no longer than the policy takes; seqs rise."""
    running(cell)
    wait_until(lambda: cell.server.kinds().count(Kind.REQUEST) > 4, "requests")
    requests = [(h, b) for kind, h, b in cell.server.seen if kind is Kind.REQUEST]
    first, later = requests[0][1], requests[-1][1]
    assert first.episode_start and first.prefix is None
    assert not later.episode_start
    assert later.prefix is not None and later.prefix.shape == later.prefix_robot.shape
    assert 0 < later.prefix.shape[0] <= 20, "no longer than the policy can take"
    assert later.delay_steps >= 1
    assert 0 < later.slack_s <= 0.2
    seqs = [header.seq for header, _ in requests]
    assert seqs == sorted(set(seqs))


def test_a_heartbeat_carries_the_vitals_with_and_without_a_session(cell: Cell) -> None:
    """Without one its epoch is 0, so that a waiting robot is shown too."""
    cell.server.reject = Reject(reason="capacity", message="full", retry_after_s=0.05)
    cell.server.start()
    cell.start()

    def beats() -> list[tuple[int, Vitals]]:
        seen = list(cell.server.seen)
        return [(h.epoch, body.vitals) for kind, h, body in seen if kind is Kind.HEARTBEAT]

    wait_until(lambda: any("full" in vitals.reason for _, vitals in beats()), "the reason")
    assert {(epoch, vitals.state) for epoch, vitals in beats()} == {(0, "CONNECTING")}
    cell.server.reject = None
    cell.server.terms = msgspec.structs.replace(cell.server.terms, warnings=("mind the gap",))

    def streams() -> tuple[int, Vitals] | None:
        epoch, vitals = beats()[-1]
        found = vitals.state == "STREAMING" and vitals.fps > 10 and vitals.plan_s > 0
        return (epoch, vitals) if found else None

    epoch, vitals = wait_until(streams, "the stream")
    assert epoch == cell.status()["epoch"]
    assert vitals.fps < 110, "a busy machine makes it slower, never faster"
    assert vitals.warnings == ("mind the gap",)
    assert vitals.latency_ms.keys() <= {"p50", "p99"}
    assert vitals.steps > 0 and vitals.plan_s <= 0.4
    wait_until(lambda: cell.status()["ticks"] >= vitals.steps, "a report of as many ticks")


def test_a_lost_server_costs_an_epoch_and_not_one_action(cell: Cell) -> None:
    """The plan is played during the reconnection: no stalled tick."""
    running(unhurried(cell))
    cell.server.lose()
    wait_until(lambda: cell.server.kinds().count(Kind.OPEN) >= 2, "the second handshake")
    wait_until(lambda: is_streaming(cell) and cell.status()["epoch"] >= 2, "the stream to go on")
    assert in_order(cell.played())
    assert cell.status()["stalled_ticks"] == 0


def test_a_network_actor_that_restarted_is_noticed_by_its_heartbeat(cell: Cell) -> None:
    """Its heartbeat names no session, which ends ours."""
    running(cell)
    cell.server._epoch = 0
    wait_until(lambda: cell.status()["epoch"] >= 2 and is_streaming(cell), "the next epoch")


def test_a_robot_holds_while_its_server_is_silent_and_continues_when_it_answers(cell: Cell) -> None:
    """Ticks go on without commands once the plan is dry."""
    cell.config["safety"]["liveness_s"] = 0.3
    running(cell)
    cell.server.silent = True
    wait_until(lambda: cell.status()["state"] == "RECONNECTING", "the silence to be noticed")
    wait_until(lambda: cell.status()["plan_s"] == 0, "the plan to run dry")
    held = len(cell.played())
    ticks = cell.status()["ticks"]
    wait_until(lambda: cell.status()["ticks"] > ticks + 20, "ticks to go on")
    assert len(cell.played()) == held, "a dry plan of a position-controlled arm: no command"
    cell.server.silent = False
    wait_until(lambda: is_streaming(cell) and len(cell.played()) > held, "the robot to move again")
    assert in_order(cell.played())
    assert cell.status()["stalled_ticks"] > 0


def test_a_robot_with_unanswered_requests_stalls_and_then_reconnects(
    cell: Cell, caplog: pytest.LogCaptureFixture
) -> None:
    """Each unanswered request is counted as a time-out."""
    caplog.set_level("INFO")
    cell.config["safety"]["request_timeout_s"] = 1.0  # a plan lasts for less than half of it
    running(cell)
    cell.server.answering = False
    wait_until(lambda: "RECONNECTING" in caplog.text, "the reconnection")
    assert "STALLED" in caplog.text.partition("RECONNECTING")[0]
    wait_until(lambda: cell.status()["dropped"].get("timeout"), "the count of those in time")
    cell.server.answering = True
    wait_until(lambda: is_streaming(cell), "the stream to go on")


def test_another_model_after_a_reconnection_stops_the_robot_for_good(cell: Cell) -> None:
    """DEAD: safe stop step by step, exit with the reason; a person may start it again."""
    running(cell)
    accepted = cell.server.terms
    cell.server.terms = msgspec.structs.replace(accepted, checkpoint="other weights")
    cell.server.lose()
    assert cell.ended() == EXIT_DEAD
    played = len(cell.played())
    assert cell.robot.stops >= 3, "the safe stop is taken a step a tick until it is reached"
    assert cell.status()["state"] == "DEAD"
    assert "'c' became 'other weights'" in cell.status()["reason"]
    cell.stop()
    cell.start()
    wait_until(lambda: len(cell.played()) > played + 10, "the robot that a person started again")


def test_a_robot_that_is_refused_at_first_is_never_enabled(cell: Cell) -> None:
    """A final rejection exits with EXIT_REFUSED, without connecting the robot."""
    cell.server.reject = Reject(reason="actions", message="reorder your motors", final=True)
    cell.server.start()
    cell.start()
    assert cell.ended() == EXIT_REFUSED
    assert not cell.robot.connected and not cell.robot.commands
    assert "reorder your motors" in cell.status()["reason"]


def test_a_robot_that_is_rejected_for_now_asks_again(cell: Cell) -> None:
    """Its status shows the reason; each handshake has a new epoch."""
    cell.server.reject = Reject(reason="capacity", message="full", retry_after_s=0.05)
    cell.server.start()
    cell.start()
    wait_until(lambda: cell.server.kinds().count(Kind.OPEN) > 2, "more handshakes")
    assert not cell.robot.connected
    wait_until(lambda: cell.status()["reason"] == "capacity: full", "the reason in status")
    cell.server.reject = None
    wait_until(lambda: is_streaming(cell), "the stream")
    epochs = [header.epoch for kind, header, _ in cell.server.seen if kind is Kind.OPEN]
    assert epochs == sorted(set(epochs)), "an epoch is used once"


def test_a_velocity_robot_with_the_fallback_hold_is_refused_at_start(cell: Cell) -> None:
    """EXIT_REFUSED, before the robot is connected."""
    cell.robot.spec = replace(SPEC, control_mode=ControlMode.VELOCITY)
    cell.start()
    assert cell.ended() == EXIT_REFUSED
    assert not cell.robot.connected


def test_a_velocity_robot_gets_zero_when_its_plan_is_dry_and_when_it_stops(cell: Cell) -> None:
    """The last command of the process is zero."""
    cell.robot.spec = replace(SPEC, control_mode=ControlMode.VELOCITY)
    cell.config["safety"]["fallback"] = "zero"
    running(cell)
    cell.server.answering = False
    wait_until(lambda: cell.played()[-1] == 0, "the fallback")
    cell.stop()
    assert cell.played()[-1] == 0


def test_a_robot_without_an_answer_for_max_offline_s_stops_for_good(cell: Cell) -> None:
    """It exits with EXIT_DEAD, and the reason names the bound."""
    cell.config["safety"].update(max_offline_s=0.8, liveness_s=0.2)
    running(cell)
    cell.server.silent = True
    assert cell.ended() == EXIT_DEAD
    assert "max_offline_s" in cell.status()["reason"]


def test_the_end_of_the_supervisor_ends_the_actor_with_the_robot_at_rest(cell: Cell) -> None:
    """A closed link is a stop."""
    running(cell)
    cell.supervisor.close()
    assert cell.ended() == EXIT_STOPPED
    assert cell.robot.closed


def test_interpolated_commands_reach_every_action_on_a_straight_line(cell: Cell) -> None:
    """Four commands per action, a quarter of the way each."""
    cell.config["fps"], cell.config["interpolate"] = 50.0, 4
    running(cell)
    wait_until(lambda: len(cell.played()) > 120, "commands")
    cell.server.answering = False
    values = cell.played()
    chunk = [v for v in values if 1000 <= v < 1030]
    assert chunk[4:12] == pytest.approx([chunk[4] + n / 4 for n in range(8)])


def test_a_damaged_register_of_the_witness_is_counted_and_stops_nothing(cell: Cell) -> None:
    """The status names the segment."""
    cell.config["witness"] = "witness/pauses"
    cell.memory["witness/pauses"] = mmap.mmap(-1, 4096)
    cell.memory["witness/pauses"][:16] = b"not a register.."
    running(cell)
    cell.actor._grid.missed_ticks.missed(1, 0, 0)  # to be judged by the pauses of the witness
    wait_until(
        lambda: cell.status().get("damaged", {}).get("witness/pauses"), "the damage in the status"
    )
    assert is_streaming(cell)


def test_every_tick_is_in_the_log_with_what_was_executed(cell: Cell) -> None:
    """Numbers are consecutive, and each command carries the provenance of its action."""
    running(cell)
    memory = memoryview(cell.memory["r1/plan"])[PLAN_BYTES:].toreadonly()
    reader = TickReader(memory, 2, 2)
    wait_until(lambda: len(cell.played()) > 60, "more ticks")
    cell.stop()
    ticks = reader.read()
    assert [t.number for t in ticks] == list(range(ticks[0].number, ticks[-1].number + 1))
    logged = [float(t.command[0]) for t in ticks if t.command is not None]
    assert len(logged) > 20 and logged == cell.played()[-len(logged) :]
    for tick in ticks:
        if tick.command is not None and tick.provenance is not None:
            assert tick.command[0] == tick.provenance.seq * 1000 + tick.provenance.step
            assert tick.provenance.session == cell.actor._words[Word.SESSION] != 0


@pytest.mark.parametrize("interpolate", [1, 4])
def test_an_action_trimmed_by_time_is_played_as_long_after_its_observation_as_it_is_meant(
    cell: Cell, interpolate: int
) -> None:
    """Step `i` is for `i` policy steps after the observation, however late the chunk came."""
    cell.config["fps"], cell.config["interpolate"] = 25.0, interpolate
    cell.config["plan_settings"]["trim"] = "time"
    cell.config["safety"]["request_timeout_s"] = 0.4
    cell.server.delay_s = 0.028  # late in a policy step
    running(cell)
    memory = memoryview(cell.memory["r1/plan"])[PLAN_BYTES:].toreadonly()
    reader = TickReader(memory, 2, 2)
    tick_ns = 40_000_000 // interpolate
    steps: list[TickRecord] = []

    def compared() -> list[TickRecord]:
        """The steps whose observation is in the log, each compared with when it was made."""
        steps.extend(t for t in reader.read() if t.begins_step)
        found = []
        for place, tick in enumerate(steps):
            seen = [n for n, t in enumerate(steps) if t.instant_ns <= (tick.observed_ns or 0)]
            if tick.provenance is None or not seen:
                continue
            between = steps[seen[-1] : place + 1]
            missed = sum(t.lateness_ns // tick_ns for t in between[1:])
            if missed and interpolate > 1:
                continue  # the grid of policy steps has moved by a part of one
            # A tick missed after the merge delays the plan until the next chunk; none is skipped.
            assert 0 <= tick.provenance.step - (len(between) - 1) <= missed
            found.append(tick)
        return found

    wait_until(lambda: len(compared()) >= 10, "steps whose observation is in the log")
    cell.server.answering = False
    wait_until(lambda: cell.status()["plan_s"] == 0, "the plan to run dry")
    dry_ns = monotonic_ns()
    cell.server.answering = True
    wait_until(
        lambda: sum((t.observed_ns or 0) > dry_ns for t in compared()) >= 10,
        "steps that were observed after the dry spell",
    )
