"""The commands of the control socket, sent to a real supervisor with real processes."""

from __future__ import annotations

import mmap
import os
import signal
import socket
import time
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace

from holdfast.actors.runtime.spec import ActorSpec, Rules, SegmentUse
from holdfast.actors.supervision.control_socket import attach
from holdfast.errors import ControlSocketError
from holdfast.tests.misbehaving.harness import Supervised, actor, exists
from holdfast.tests.waiting import wait_until
from holdfast.transport.seqlock import Seqlock


def test_a_script_can_attach_any_segment_read_only() -> None:
    """The attached descriptor cannot be mapped writable; an unknown name is refused."""
    shared = SegmentUse("shared", Seqlock.size_for(64), writable=True)
    with Supervised(actor("writer", "Shares", segments=(shared,))) as fleet:
        fleet.reach("writer", "READY")
        fd, size = attach(fleet.socket, "shared")
        with mmap.mmap(fd, size, prot=mmap.PROT_READ) as memory:
            register = Seqlock(memory)
            assert wait_until(register.read) is not None
            register.close()
        with pytest.raises(PermissionError):
            mmap.mmap(fd, size)
        os.close(fd)
        with pytest.raises(ControlSocketError, match="did you mean 'shared'"):
            attach(fleet.socket, "shard")


def test_a_person_can_stop_start_restart_and_drain_an_actor() -> None:
    """Each request ends in its state, and what a person stopped leaves the fleet healthy."""
    with Supervised(actor("a"), actor("b", after=("a",))) as fleet:
        fleet.reach("b", "READY")
        fleet.ask("stop", "a")
        assert fleet.reach("a", "STOPPED")["pid"] is None
        assert fleet.reach("b", "READY")["restarts"] == 0
        assert fleet.status()["healthy"], "what a person stopped is no fault"
        fleet.ask("start", "a")
        fleet.reach("a", "READY", 2)
        fleet.ask("restart", "a")
        fleet.reach("a", "READY", 3)
        fleet.ask("drain", "a")
        fleet.reach("a", "STOPPED")


def test_a_command_for_an_actor_is_answered_by_it_or_with_an_error() -> None:
    """Replies pass through; unknown names get a suggestion, a silent actor a timeout."""
    with Supervised(actor("r1/control", robot="r1")) as fleet:
        fleet.reach("r1/control", "READY")
        assert fleet.ask("pause", "r1")["result"] == {"heard": "pause"}
        assert "did you mean 'r1'" in fleet.refused("pause", "r11")
        assert "did you mean 'r1/control'" in fleet.refused("restart", "r1/contrl")
        assert "no verb 'strat'" in fleet.refused("strat")
        assert "SIGKILL" in fleet.refused("kill", "r1/control", signal="SIGKIL")
        began = time.monotonic()
        message = fleet.refused("tell", "r1/control", verb="deaf")
        assert "did not answer" in message and time.monotonic() - began > 4


def test_an_actor_can_answer_only_its_own_commands() -> None:
    """Replies to another actor's command are ignored."""
    with Supervised(actor("liar", "AnswersForOthers"), actor("r1/control", robot="r1")) as fleet:
        fleet.reach("liar", "READY")
        fleet.reach("r1/control", "READY")
        for _ in range(3):
            assert fleet.ask("pause", "r1")["result"] == {"heard": "pause"}
        said = fleet.refused("tell", "r1/control", verb="deaf", timeout_s=1.0)
        assert "did not answer within 1 s" in said


def test_a_request_that_waits_for_an_actor_that_dies_is_refused_at_once() -> None:
    """The refusal comes with the exit, before the timeout, and says how the actor ended."""
    with Supervised(actor("a", "ExitsOnCommand")) as fleet:
        fleet.reach("a", "READY")
        began = time.monotonic()
        answer = fleet.refused("tell", "a", verb="anything", timeout_s=60.0)
        assert "a exited with status 7" in answer and "before it answered" in answer
        assert time.monotonic() - began < 30


def test_garbage_on_the_control_socket_is_refused_or_disconnected() -> None:
    """Each malformed line gets its error, a line without end is cut, the fleet stays healthy."""
    with Supervised(actor("a")) as fleet:
        fleet.reach("a", "READY")
        garbage = {
            b"hello": b"expected one JSON object",
            b"[1]": b"expected one JSON object",
            b"\xff\xfe": b"expected one JSON object",
            b'{"do": 3}': b"expected one JSON object",
            b'{"do": "kill", "names": 3}': b"Expected `array`, got `int`",
            b'{"do": "stop", "names": [{}]}': b"Expected `str`, got `object`",
            b'{"do": "pause", "names": ["r1"], "args": 7}': b"Expected `object`, got `int`",
            b'{"do": "kill", "names": ["a"], "signal": "99"}': b"no signal",
        }
        for line, answer in garbage.items():
            with socket.socket(socket.AF_UNIX) as sock:
                sock.connect(str(fleet.socket))
                sock.sendall(line + b"\n")
                assert answer in sock.recv(4096)
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(60)
            sock.connect(str(fleet.socket))
            with pytest.raises((BrokenPipeError, ConnectionResetError)):
                for _ in range(1000):
                    sock.sendall(b"x" * 65536)
        assert fleet.status()["healthy"]


def test_a_reload_replaces_only_the_processes_that_changed(tmp_path: Path) -> None:
    """A dry run changes nothing; unchanged actors keep pid and incarnation."""
    small, large = (SegmentUse("shared", Seqlock.size_for(n), writable=True) for n in (64, 128))
    start = [actor("a"), actor("b"), actor("c"), actor("w", "Shares", segments=(small,))]
    change = [actor("a"), actor("c", after_s=60.0), actor("d")]
    change.append(actor("w", "Shares", segments=(large,)))
    with Supervised(*start) as fleet:
        for spec in start:
            fleet.reach(spec.name, "READY")
        before = {row["name"]: row["pid"] for row in fleet.status()["actors"]}
        plain = msgspec.to_builtins(change)
        answer = fleet.ask("reform", actors=plain, dry=True)["difference"]
        assert answer["added"] == ["d"] and answer["removed"] == ["b"] and answer["same"] == ["a"]
        assert answer["changed"]["c"] == ["after_s is new: 60.0"]
        assert answer["changed"]["w"] == ["shared memory shared"]
        assert {row["name"]: row["pid"] for row in fleet.status()["actors"]} == before
        fleet.ask("reform", actors=plain)
        fleet.reach("d", "READY")
        fleet.reach("c", "READY", 2)
        fleet.reach("w", "READY", 2)
        wait_until(lambda: not any(row["name"] == "b" for row in fleet.status()["actors"]))
        assert not exists(before["b"])
        row = fleet.row("a")
        assert (row["pid"], row["incarnation"]) == (before["a"], 1)
        fd, size = attach(fleet.socket, "shared")
        os.close(fd)
        assert size == large.size
        assert "no actor 'b'" in fleet.refused("start", "b")
        broken = [{**plain[0], "member": {**plain[0]["member"], "after": ["unknown"]}}]
        assert "unknown" in fleet.refused("reform", actors=broken)
        assert fleet.status()["healthy"]


def test_a_process_takes_over_memory_of_actors_that_come_and_go_while_it_runs() -> None:
    """It keeps its pid; its next incarnation begins with what the last change said."""
    one, two = (SegmentUse(f"{name}/out", Seqlock.size_for(64), writable=True) for name in "ab")

    def fleet_with(*uses: SegmentUse) -> list[ActorSpec]:
        watched = {use.name[0]: use.name for use in uses}
        mapped = tuple(replace(use, writable=False) for use in uses)
        writers = [actor(use.name[0], "Shares", segments=(use,)) for use in uses]
        watcher = actor(
            "w", "Watches", segments=mapped, watched=watched, reconfigurable=("watched",)
        )
        return [*writers, watcher]

    with Supervised(*fleet_with(one)) as fleet:

        def sees(*names: str) -> bool:
            report = fleet.row("w")["report"] or {}
            mapped = ["w/board", *(f"{name}/out" for name in names)]
            expected = {"seen": dict.fromkeys(names, True), "segments": sorted(mapped)}
            return expected.items() <= report.items()

        pid = fleet.reach("w", "READY")["pid"]
        wait_until(lambda: sees("a"))
        change = msgspec.to_builtins(fleet_with(one, two))
        assert list(fleet.ask("reform", actors=change)["difference"]["reconfigured"]) == ["w"]
        wait_until(lambda: sees("a", "b"))
        fleet.ask("reform", actors=msgspec.to_builtins(fleet_with(two)))
        wait_until(lambda: sees("b"))
        assert (fleet.row("w")["pid"], fleet.row("w")["incarnation"]) == (pid, 1)
        fleet.ask("restart", "w")
        fleet.reach("w", "READY", 2)
        wait_until(lambda: sees("b"))


def test_an_actor_that_is_removed_and_added_again_is_supervised() -> None:
    """Its progress is read from its new board, so that it does not count as hung."""
    patient = Rules(stop_timeout_s=60.0, hang_timeout_s=60.0)
    gone, kept = actor("a", "IgnoresSigterm", patient), actor("b")
    with Supervised(gone, kept) as fleet:
        pid = fleet.reach("a", "READY")["pid"]
        fleet.ask("reform", actors=msgspec.to_builtins([kept]))
        assert exists(pid) and fleet.row("a")["state"] == "STOPPING"
        fleet.ask("reform", actors=msgspec.to_builtins([actor("a"), kept]))
        os.kill(pid, signal.SIGKILL)  # as its stop timeout does
        fleet.reach("a", "READY", 2)
        assert not exists(pid)

        def young() -> bool:
            row = fleet.row("a")
            age_s = row["progress_age_s"]
            return row["uptime_s"] > 1.0 and age_s is not None and age_s < 0.5

        wait_until(young, "progress that is younger than the actor")
        row = fleet.row("a")
        assert (row["state"], row["incarnation"]) == ("READY", 2)


def test_a_reload_that_the_machine_has_no_room_for_changes_nothing() -> None:
    """Neither processes nor the memory of segments that were to change are touched."""
    size = Seqlock.size_for(64)
    writer = actor("w", "Shares", segments=(SegmentUse("shared", size, writable=True),))
    larger = SegmentUse("shared", Seqlock.size_for(128), writable=True)
    shm = os.statvfs("/dev/shm")
    huge = SegmentUse("huge", 2 * (shm.f_blocks + 1) * shm.f_frsize, writable=True)
    with Supervised(writer, actor("a")) as fleet:
        fleet.reach("w", "READY")
        before = {row["name"]: row["pid"] for row in fleet.status()["actors"]}
        change = [actor("w", "Shares", segments=(larger,)), actor("new", segments=(huge,))]
        assert "/dev/shm" in fleet.refused("reform", actors=msgspec.to_builtins(change))
        fd, found = attach(fleet.socket, "shared")
        with mmap.mmap(fd, found, prot=mmap.PROT_READ) as memory:
            register = Seqlock(memory)
            version = register.version
            assert found == size
            wait_until(lambda: register.version > version)  # the writer still writes there
            register.close()
        os.close(fd)
        assert {row["name"]: row["pid"] for row in fleet.status()["actors"]} == before


def test_a_robot_without_a_control_actor_is_refused() -> None:
    """The reload is refused with the missing actor's name."""
    with Supervised(actor("a")) as fleet:
        change = msgspec.to_builtins([actor("r1/network", robot="r1")])
        assert "r1/control" in fleet.refused("reform", actors=change)
        assert [row["name"] for row in fleet.status()["actors"]] == ["a"]


def test_a_stopping_fleet_refuses_a_reload() -> None:
    """The refusal says that the fleet is stopping."""
    with Supervised(actor("a", "IgnoresSigterm", Rules(stop_timeout_s=60.0))) as fleet:
        pid = fleet.reach("a", "READY")["pid"]
        fleet.ask("shutdown")
        change = msgspec.to_builtins([actor("b")])
        assert "is stopping" in fleet.refused("reform", actors=change)
        os.kill(pid, signal.SIGKILL)
