"""Commands and episodes of a control actor, with real sockets and shared memory."""

from __future__ import annotations

import msgspec
import pytest

from holdfast.actors.control import robot_episodes
from holdfast.actors.control.plan_memory import PLAN_BYTES
from holdfast.actors.control.tick_log import TickReader
from holdfast.robot.base import Episode
from holdfast.tests.actors.control.cell_states import in_order, is_streaming, running, unhurried
from holdfast.tests.actors.control.conftest import Cell
from holdfast.tests.actors.control.test_loop_restart import crash
from holdfast.tests.waiting import wait_until
from holdfast.transport import bodies
from holdfast.transport.header import Kind


def test_a_paused_robot_keeps_its_plan_and_resumes_with_the_next_action(cell: Cell) -> None:
    """While paused nothing is commanded or requested, and ticks go on."""
    unhurried(cell).config["plan_settings"]["buffer_time_s"] = 0.2
    running(cell)
    wait_until(lambda: cell.status()["plan_s"] > 1.0, "a plan without a request under way")
    cell.server.answering = False
    answer = cell.command("pause")
    assert answer.error is None and answer.result["paused"]
    played = cell.played()
    requests = cell.server.kinds().count(Kind.REQUEST)
    ticks = cell.status()["ticks"]
    wait_until(lambda: cell.status()["ticks"] > ticks + 20, "ticks while paused")
    assert cell.played() == played and cell.status()["state"] == "PAUSED"
    assert cell.server.kinds().count(Kind.REQUEST) <= requests + 1
    assert cell.command("resume").error is None
    wait_until(lambda: len(cell.played()) > len(played), "the next action")
    assert cell.played()[len(played)] == played[-1] + 1


def test_a_pause_outlives_the_process(cell: Cell) -> None:
    """The next incarnation commands nothing until it is resumed."""
    running(cell)
    cell.command("pause")
    crash(cell)
    played = len(cell.played())
    cell.start()
    wait_until(lambda: cell.status()["epoch"] >= 2, "the next incarnation")
    ticks = cell.status()["ticks"]
    wait_until(lambda: cell.status()["ticks"] > ticks + 20, "ticks")
    assert len(cell.played()) == played
    cell.command("resume")
    wait_until(lambda: len(cell.played()) > played, "the robot to move")


def test_a_reset_begins_an_episode_and_plays_nothing_of_the_one_before(cell: Cell) -> None:
    """The replica gets RESET; waiting for the first chunk is no stall."""
    cell.config["safety"].update(request_timeout_s=0.4, degraded_after_s=60.0)
    running(unhurried(cell))
    cell.server.answering = False
    before = cell.status()["requests"]
    answer = cell.command("reset")
    assert answer.result["episode"] == 1
    played = len(cell.played())
    wait_until(lambda: Kind.RESET in cell.server.kinds(), "the reset at the replica")
    cell.server.answering = True
    wait_until(lambda: len(cell.played()) > played + 10, "the new episode's plan")
    assert min(cell.played()[played:]) // 1000 > before - 1
    requests = [h.episode for kind, h, _ in cell.server.seen if kind is Kind.REQUEST]
    assert requests[-1] == 1
    assert cell.status()["stalled_ticks"] == 0, "waiting for an episode's first chunk is no stall"


def test_an_episode_that_the_robot_reports_resets_the_plan(cell: Cell) -> None:
    """The requests after it carry its task."""
    cell.robot.attempt = Episode(4, "first task")
    running(cell)
    cell.robot.attempt = Episode(5, "second task")
    wait_until(lambda: cell.status()["episode"] == 1, "the reset")
    wait_until(lambda: is_streaming(cell), "the stream")
    tasks = [(h.episode, b.task) for kind, h, b in cell.server.seen if kind is Kind.REQUEST]
    assert {task for episode, task in tasks if episode == 0} == {"first task"}
    wait_until(lambda: cell.server.seen[-1][2] and last_task(cell) == "second task", "its task")


def test_a_task_that_is_given_holds_until_the_robot_s_next_episode(cell: Cell) -> None:
    """The episode goes on, and the plan is continued: the request has it as its prefix."""
    cell.robot.attempt = Episode(4, "first task")
    running(unhurried(cell))
    wait_until(lambda: last_task(cell) == "first task", "its task")
    answer = cell.command("task", task="another task")
    assert (answer.result["task"], answer.result["episode"]) == ("another task", 0)
    assert cell.status()["task"] == "another task"
    wait_until(lambda: last_task(cell) == "another task", "the given task")
    seen = [body for kind, _, body in list(cell.server.seen) if kind is Kind.REQUEST]
    first = next(body for body in seen if body.task == "another task")
    assert first.prefix is not None and not first.episode_start
    assert "needs the task" in cell.command("task").error
    merged = cell.status()["merged"]
    wait_until(lambda: cell.status()["merged"] > merged + 2, "chunks of it")
    assert last_task(cell) == "another task", "the robot still reports its own"
    assert cell.status()["stalled_ticks"] == 0
    assert in_order(cell.played())
    cell.robot.attempt = Episode(5, "second task")
    wait_until(lambda: last_task(cell) == "second task", "its task")


def last_task(cell: Cell) -> str:
    tasks: list[str] = [b.task for kind, _, b in list(cell.server.seen) if kind is Kind.REQUEST]
    return tasks[-1]


def test_an_unknown_command_is_answered_with_what_is_possible(cell: Cell) -> None:
    """The acknowledgement's error lists the actor's commands."""
    running(cell)
    assert "stop, pause, resume, reset, episode, task" in cell.command("dance").error


def test_another_service_infers_from_an_episode_of_its_own_on(cell: Cell) -> None:
    """The session before is closed; nothing that it planned is played."""
    running(cell)
    cell.server.terms = msgspec.structs.replace(cell.server.terms, checkpoint="c2")
    answer = cell.command("use", service="q")
    assert answer.error is None, answer.error
    assert (answer.result["service"], answer.result["episode"]) == ("q", 1)
    played, merged = len(cell.played()), cell.status()["merged"]
    wait_until(lambda: cell.status()["merged"] > merged + 1, "chunks of the other service")
    assert cell.status()["service"] == "q" and in_order(cell.played())
    opens = [body.service for kind, _, body in list(cell.server.seen) if kind is Kind.OPEN]
    assert list(dict.fromkeys(opens)) == ["p", "q"] and Kind.CLOSE in cell.server.kinds()
    wait_until(lambda: len(cell.played()) > played + 5, "its actions")
    crash(cell)
    cell.start()
    wait_until(lambda: cell.status()["epoch"] >= 3, "the next incarnation")
    assert cell.status()["service"] == "q"


def test_a_robot_that_the_other_service_refuses_stays_with_its_own(cell: Cell) -> None:
    """The answer has the reason, and the robot goes on."""
    running(cell)
    cell.server.reject = bodies.Reject(reason="fps", message="it is for 5 Hz", final=True)
    cell.server.rejects = "q"
    why = "service 'q' refused it: fps: it is for 5 Hz; it stays with 'p'"
    assert cell.command("use", service="q").error == why
    merged = cell.status()["merged"]
    wait_until(lambda: cell.status()["merged"] > merged + 1, "chunks of its own service")
    assert cell.status()["service"] == "p"
    assert cell.command("use", service="p").error is None, "it has that one"
    assert "name of a service" in cell.command("use").error


def test_a_robot_that_goes_on_for_one_episode_is_paused_at_the_next(cell: Cell) -> None:
    """Nothing is commanded in the next one; an episode that a person begins does not count."""
    cell.robot.attempt = Episode(4, "first task")
    running(cell)
    cell.command("resume", until="episode")
    cell.command("reset")
    played = len(cell.played())
    wait_until(lambda: len(cell.played()) > played + 5, "the robot to go on")
    cell.robot.attempt = Episode(5, "second task")
    wait_until(lambda: cell.status()["paused"], "the pause")
    played, ticks = len(cell.played()), cell.status()["ticks"]
    assert cell.status()["episode"] == 2
    wait_until(lambda: cell.status()["ticks"] > ticks + 20, "ticks while paused")
    assert len(cell.played()) == played
    cell.command("resume")
    cell.robot.attempt = Episode(6, "third task")
    wait_until(lambda: len(cell.played()) > played + 5, "the robot to go on")
    assert not cell.status()["paused"], "that was for one episode"


def test_a_reset_begins_an_episode_of_the_surroundings_and_is_answered_then(cell: Cell) -> None:
    """The plan's episode is theirs, once; the task that was given with it holds."""
    cell.robot.attempt, cell.robot.begins = Episode(4, "first task"), True
    running(cell)
    assert cell.status()["episode"] == 0
    answer = cell.command("reset", task="as a person says")
    assert answer.error is None and answer.result["episode"] == 1
    assert cell.robot.attempt.number == 5 and answer.result["task"] == "as a person says"
    assert cell.status()["episode_tasks"][-1] == [1, "as a person says"]
    answer = cell.command("reset")
    assert (answer.result["episode"], answer.result["task"]) == (2, "task 6")
    unchanged = cell.command("reset", after=1)
    assert unchanged.result["episode"] == 2 and cell.robot.attempt.number == 6
    assert cell.command("reset", after=2).result["episode"] == 3
    assert in_order(cell.played())


def test_surroundings_that_begin_nothing_are_named_in_the_answer(
    cell: Cell, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reset is refused after a while; meanwhile they are asked again, and the plan goes on."""
    monkeypatch.setattr(robot_episodes, "_WITHIN_NS", 300_000_000)
    monkeypatch.setattr(robot_episodes, "_AGAIN_NS", 50_000_000)
    cell.robot.attempt, cell.robot.begins = Episode(4, "first task"), True
    running(cell)
    cell.robot.deaf = True
    played = len(cell.played())
    assert "has begun no episode within" in cell.command("reset").error
    assert cell.robot.asked > 1 and cell.status()["episode"] == 0
    wait_until(lambda: len(cell.played()) > played, "the plan to go on")
    cell.robot.deaf = False
    monkeypatch.setattr(robot_episodes, "_WITHIN_NS", 60_000_000_000)
    assert cell.command("reset").result["episode"] == 1


def test_an_episode_of_the_surroundings_has_its_task_on_the_board_with_its_first_tick(
    cell: Cell,
) -> None:
    """Also one that is shorter than the time between two reports."""
    cell.robot.attempt = Episode(4, "first task")
    running(cell)
    reader = TickReader(memoryview(cell.memory["r1/plan"])[PLAN_BYTES:], 2, 2)
    seen: dict[int, str | None] = {}
    for number in range(5, 15):
        cell.robot.attempt = Episode(number, f"task {number}")

        def begun(number: int = number) -> bool:
            for tick in reader.read():
                seen.setdefault(
                    tick.episode, dict(cell.status()["episode_tasks"]).get(tick.episode)
                )
            return number - 4 in seen

        wait_until(begun, "the first tick", every_s=0.001)
    assert [seen[number - 4] for number in range(5, 15)] == [f"task {n}" for n in range(5, 15)]
