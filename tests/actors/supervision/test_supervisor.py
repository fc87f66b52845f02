"""The supervisor's shell with real processes that misbehave."""

from __future__ import annotations

import mmap
import os
import signal
import socket
import time
from pathlib import Path

import msgspec
import pytest

from holdfast.actors.runtime.runtime_dir import RuntimeDir, runtime_base
from holdfast.actors.runtime.spec import ActorSpec, Rules, SegmentUse
from holdfast.actors.supervision.cleanup_process import CleanupLink
from holdfast.actors.supervision.control_socket import attach
from holdfast.errors import ControlSocketError, RuntimeDirError
from holdfast.tests.misbehaving.harness import Supervised, actor, exists, until
from holdfast.transport.seqlock import Seqlock


def test_actors_start_in_order_and_all_get_ready() -> None:
    with Supervised(actor("a"), actor("b", after=("a",))) as fleet:
        fleet.reach("b", "READY")
        status = fleet.status()
        assert status["healthy"]
        assert [row["name"] for row in status["actors"]] == ["a", "b"]
        assert all(exists(row["pid"]) for row in status["actors"])


def test_a_killed_actor_is_back_at_once_and_continues_its_counters() -> None:
    with Supervised(actor("a")) as fleet:
        fleet.reach("a", "READY")
        until(lambda: fleet.turns("a") > 5)
        turns = fleet.turns("a")
        os.kill(fleet.row("a")["pid"], signal.SIGKILL)
        row = fleet.reach("a", "READY", 2)
        assert row["restarts"] == 1
        assert row["last_exit"] == "killed by SIGKILL"
        until(lambda: fleet.turns("a") > turns)


def test_a_restart_begins_within_20_ms_of_the_death() -> None:
    """From the kill to the log's word of the next start; the best of three, because others use this
    machine too."""
    forgetful = Rules(settle_s=0.2)
    with Supervised(actor("a", rules=forgetful)) as fleet:
        delays = []
        for incarnation in (1, 2, 3):
            pid = fleet.reach("a", "READY", incarnation)["pid"]
            turns = fleet.turns("a")
            until(lambda turns=turns: fleet.turns("a") > turns + 20)
            killed = time.time()
            os.kill(pid, signal.SIGKILL)
            fleet.reach("a", "READY", incarnation + 1)
            starts = [r["t"] for r in fleet.log() if "WAITING -> STARTING" in r["message"]]
            delays.append(starts[-1] - killed)
        assert min(delays) < 0.02, delays


@pytest.mark.parametrize("kind", ["AlwaysCrash", "CrashAfterReady"])
def test_a_crash_loop_ends_in_failed_with_its_last_error(kind: str) -> None:
    rules = Rules(max_restarts=3, backoff_s=0.05, max_backoff_s=0.1)
    with Supervised(actor("a", kind, rules), actor("b")) as fleet:
        row = fleet.reach("a", "FAILED")
        assert row["restarts"] == 3
        assert "actorctl start a" in row["reason"]
        assert "RuntimeError" in row["last_error"] and "RuntimeError" in row["last_exit"]
        assert not fleet.status()["healthy"]
        assert fleet.reach("b", "READY")["restarts"] == 0
        fleet.ask("start", "a")
        fleet.reach("a", "FAILED", incarnation=5)


def test_one_that_is_never_ready_is_ended_and_said_so() -> None:
    rules = Rules(start_timeout_s=0.7, max_restarts=1, backoff_s=0.1)
    with Supervised(actor("a", "NeverReady", rules)) as fleet:
        assert "not ready within 0.7 s" in fleet.reach("a", "FAILED")["reason"]


def test_a_hang_is_noticed_by_its_lack_of_progress() -> None:
    with Supervised(actor("a", "HangAfterReady", after_s=0.2)) as fleet:
        row = fleet.reach("a", "READY", 2)
        assert row["last_exit"] == "killed by SIGKILL"
        assert any("hung: no progress" in record["message"] for record in fleet.log())


def test_one_that_measured_long_turns_is_no_hung_one() -> None:
    """Its rules allow 0.6 s without progress, a turn takes 1 s, and it asked for 3."""
    with Supervised(actor("a", "Slow")) as fleet:
        fleet.reach("a", "READY")
        until(lambda: fleet.turns("a") > 3)
        row = fleet.row("a")
        assert (row["incarnation"], row["hang_timeout_s"]) == (1, 3.0)


def test_a_stopped_process_is_a_hung_one() -> None:
    with Supervised(actor("a")) as fleet:
        fleet.ask("kill", "a", signal="STOP") if fleet.reach("a", "READY") else None
        fleet.reach("a", "READY", 2)


def test_one_that_ignores_sigterm_is_killed_and_the_end_is_in_time() -> None:
    with Supervised(actor("a", "IgnoresSigterm"), actor("b")) as fleet:
        fleet.reach("a", "READY")
        fleet.reach("b", "READY")
        began = time.monotonic()
        fleet.process.send_signal(signal.SIGINT)
        fleet.process.wait(5)
        assert time.monotonic() - began < 3


def test_a_second_interrupt_does_not_wait_for_anybody() -> None:
    patient = Rules(stop_timeout_s=60, hang_timeout_s=60)
    with Supervised(actor("a", "IgnoresSigterm", patient)) as fleet:
        fleet.reach("a", "READY")
        fleet.process.send_signal(signal.SIGINT)
        fleet.reach("a", "STOPPING")
        began = time.monotonic()
        fleet.process.send_signal(signal.SIGINT)
        fleet.process.wait(5)
        assert time.monotonic() - began < 2


@pytest.mark.parametrize("end", ["kill", "stop", "fleet"])
def test_grandchildren_do_not_outlive_their_actor(end: str, tmp_path: Path) -> None:
    note = tmp_path / "pids"
    with Supervised(actor("a", "LeavesGrandchildren", note=str(note))) as fleet:
        row = fleet.reach("a", "READY")
        until(lambda: note.exists() and len(note.read_text().split()) == 2)
        pids = [int(pid) for pid in note.read_text().split()]
        assert all(exists(pid) for pid in pids)
        if end == "kill":
            os.kill(row["pid"], signal.SIGKILL)
        elif end == "stop":
            fleet.ask("stop", "a")
        else:
            fleet.process.send_signal(signal.SIGTERM)
        until(lambda: not any(exists(pid) for pid in pids), 5)


def test_a_flood_is_bounded_and_does_not_keep_the_others_from_being_heard() -> None:
    slow = Rules(hang_timeout_s=30, stop_timeout_s=0.5)
    with Supervised(actor("flood", "FloodsStdout", slow), actor("a", "Logs", slow)) as fleet:
        fleet.reach("flood", "READY")
        until(lambda: any("dropped: more than" in record["message"] for record in fleet.log()))
        began = time.monotonic()
        fleet.status()
        assert time.monotonic() - began < 0.5
        assert any(record["message"] == "a proper record" for record in fleet.log())
        directory = runtime_base().parent / "state" / fleet.name
        assert sum(path.stat().st_size for path in directory.iterdir()) < 3 * 2_500_000


def test_one_that_eats_memory_is_restarted_with_that_reason() -> None:
    with Supervised(actor("a", "EatsMemory", memory_mb=200)) as fleet:
        fleet.reach("a", "READY", 2)
        assert any("its limit is 200" in record["message"] for record in fleet.log())


def test_a_refused_configuration_is_not_tried_again() -> None:
    with Supervised(actor("a", "Refuses")) as fleet:
        row = fleet.reach("a", "FAILED")
        assert row["restarts"] == 0
        assert "found no camera 7" in row["reason"]


def test_one_that_is_dead_for_good_waits_for_a_person() -> None:
    with Supervised(actor("a", "EndsDead", after_s=0.2)) as fleet:
        row = fleet.reach("a", "FAILED")
        assert row["restarts"] == 0
        assert "the model changed" in row["reason"]
        fleet.ask("start", "a")
        fleet.reach("a", "FAILED", 2)


def test_nonsense_from_an_actor_hurts_nobody() -> None:
    with Supervised(actor("a", "TalksNonsense"), actor("b")) as fleet:
        fleet.reach("a", "READY")
        until(lambda: fleet.turns("a") > 20)
        assert fleet.row("a")["restarts"] == 0


def test_records_and_stray_output_are_in_one_log_whole_and_labelled() -> None:
    with Supervised(actor("a", "Logs")) as fleet:
        fleet.reach("a", "READY")
        until(lambda: any("stray line" in r["message"] for r in fleet.log()))
        assert fleet.row("a")["last_error"] == "a bad one"
        fleet.ask("stop", "a")
        fleet.reach("a", "STOPPED")
        said = {r["message"]: r for r in until(fleet.log) if r["actor"] == "a"}
        assert said["a proper record"]["level"] == "info"
        assert said["a bad one"]["level"] == "error"
        assert said["a stray print"]["stream"] == "stdout"
        assert said["a stray line on stderr"]["stream"] == "stderr"
        until(lambda: any(r["message"].startswith("and one without an end") for r in fleet.log()))


def test_a_segment_outlives_its_writer_and_its_readers_cannot_write(tmp_path: Path) -> None:
    size = Seqlock.size_for(64)
    note = tmp_path / "values"
    with Supervised(
        actor("writer", "Shares", segments=(SegmentUse("shared", size, writable=True),)),
        actor("reader", "Shares", segments=(SegmentUse("shared", size),), note=str(note)),
    ) as fleet:
        row = fleet.reach("writer", "READY")
        fleet.reach("reader", "READY")

        def latest() -> int:
            lines = note.read_text().split() if note.exists() else []
            return int(lines[-1]) if lines and lines[-1].isdigit() else 0

        count = until(latest)
        os.kill(row["pid"], signal.SIGKILL)
        fleet.reach("writer", "READY", 2)
        until(lambda: latest() > count)
        assert fleet.row("reader")["restarts"] == 0


def test_a_script_may_look_at_any_segment_and_touch_none() -> None:
    shared = SegmentUse("shared", Seqlock.size_for(64), writable=True)
    with Supervised(actor("writer", "Shares", segments=(shared,))) as fleet:
        fleet.reach("writer", "READY")
        fd, size = attach(fleet.socket, "shared")
        with mmap.mmap(fd, size, prot=mmap.PROT_READ) as memory:
            register = Seqlock(memory)
            assert until(register.read) is not None
            register.close()
        with pytest.raises(PermissionError):
            mmap.mmap(fd, size)
        os.close(fd)
        with pytest.raises(ControlSocketError, match="did you mean 'shared'"):
            attach(fleet.socket, "shard")


def test_a_person_stops_starts_restarts_and_drains() -> None:
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


def test_words_for_an_actor_are_answered_by_it_or_with_an_error() -> None:
    with Supervised(actor("r1/control", robot="r1")) as fleet:
        fleet.reach("r1/control", "READY")
        assert fleet.ask("pause", "r1")["result"] == {"heard": "pause"}
        assert "did you mean 'r1'" in fleet.refused("pause", "r11")
        assert "did you mean 'r1/control'" in fleet.refused("restart", "r1/contrl")
        assert "no verb 'strat'" in fleet.refused("strat")
        assert "SIGKILL" in fleet.refused("kill", "r1/control", signal="SIGKIL")
        began = time.monotonic()
        message = fleet.refused("tell", "r1/control", verb="deaf")
        assert "did not answer" in message and 4 < time.monotonic() - began < 7


def test_an_actor_answers_only_what_it_was_asked_itself() -> None:
    with Supervised(actor("liar", "AnswersForOthers"), actor("r1/control", robot="r1")) as fleet:
        fleet.reach("liar", "READY")
        fleet.reach("r1/control", "READY")
        for _ in range(3):
            assert fleet.ask("pause", "r1")["result"] == {"heard": "pause"}
        assert "did not answer" in fleet.refused("tell", "r1/control", verb="deaf")


def test_whoever_waits_for_an_actor_that_dies_is_told_at_once() -> None:
    """Not after the seconds that a slow answer may take."""
    with Supervised(actor("a", "ExitsOnCommand")) as fleet:
        fleet.reach("a", "READY")
        began = time.monotonic()
        said = fleet.refused("tell", "a", verb="anything")
        assert "a exited with status 7" in said and "before it answered" in said
        assert time.monotonic() - began < 3


def test_garbage_on_the_control_socket_is_answered_or_cut_off() -> None:
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
            sock.settimeout(5)
            sock.connect(str(fleet.socket))
            with pytest.raises((BrokenPipeError, ConnectionResetError)):
                for _ in range(1000):
                    sock.sendall(b"x" * 65536)
        assert fleet.status()["healthy"]


def test_a_warm_spare_stands_in_and_is_replaced_when_all_is_calm() -> None:
    forgetful = Rules(settle_s=0.2)
    with Supervised(actor("a", rules=forgetful, warm="misbehaving")) as fleet:
        fleet.reach("a", "READY")
        spare = 0
        for incarnation in (2, 3):
            until(lambda: _ready_spares(fleet))
            spare = _child(fleet, b"--preload", spare)
            os.kill(fleet.row("a")["pid"], signal.SIGKILL)
            assert fleet.reach("a", "READY", incarnation)["pid"] == spare
        log = [r for r in fleet.log() if r["actor"] == "spare"]
        assert log == []


def test_a_spare_that_dies_costs_nobody_anything() -> None:
    with Supervised(actor("a", warm="misbehaving")) as fleet:
        fleet.reach("a", "READY")
        os.kill(until(lambda: _child(fleet, b"--preload")), signal.SIGKILL)
        until(lambda: not _child(fleet, b"--preload"))
        os.kill(fleet.row("a")["pid"], signal.SIGKILL)
        fleet.reach("a", "READY", 2)


def test_a_frozen_spare_is_handed_to_nobody_and_replaced() -> None:
    """The actor starts cold instead; its start does not wait for the spare for longer than that."""
    with Supervised(actor("a", warm="misbehaving", rules=Rules(settle_s=0.2))) as fleet:
        fleet.reach("a", "READY")
        spare = until(lambda: _child(fleet, b"--preload"))
        until(lambda: _ready_spares(fleet))
        os.kill(spare, signal.SIGSTOP)
        os.kill(fleet.row("a")["pid"], signal.SIGKILL)
        row = fleet.reach("a", "READY", 2, deadline_s=3)
        assert row["pid"] != spare
        until(lambda: not exists(spare))
        until(lambda: _child(fleet, b"--preload"))
        assert any("pings unanswered" in r["message"] for r in fleet.log())


def _ready_spares(fleet: Supervised) -> int:
    return int(fleet.status()["spares"]["ready"])


def _asleep(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "S"


def test_there_is_a_spare_for_each_that_shares_it_up_to_a_limit() -> None:
    """Two that die at once are both back from spares; a third robot that a reload adds has its own,
    and a fleet that shrinks keeps no more than it needs."""
    forgetful = Rules(settle_s=0.2)

    def fleet_of(*names: str) -> list[ActorSpec]:
        return [actor(name, rules=forgetful, warm="misbehaving", spares=3) for name in names]

    with Supervised(*fleet_of("a", "b")) as fleet:
        for name in "ab":
            fleet.reach(name, "READY")
        until(lambda: _ready_spares(fleet) == 2)
        spares = _spares(fleet)
        for name in "ab":
            os.kill(fleet.row(name)["pid"], signal.SIGKILL)
        assert {fleet.reach(name, "READY", 2)["pid"] for name in "ab"} == spares
        fleet.ask("reform", actors=msgspec.to_builtins(fleet_of("a", "b", "c", "d")))
        fleet.reach("d", "READY")
        until(lambda: _ready_spares(fleet) == 3)
        fleet.ask("reform", actors=msgspec.to_builtins(fleet_of("a")))
        until(lambda: len(_spares(fleet)) == 1)


def _spares(fleet: Supervised) -> set[int]:
    pids = {row["pid"] for row in fleet.status()["actors"]}
    return set(_children(fleet, b"--preload")) - pids


def test_two_supervisors_never_share_a_fleet() -> None:
    with Supervised(actor("a")) as fleet:
        fleet.reach("a", "READY")
        with pytest.raises(RuntimeDirError, match=f"process {fleet.process.pid}"):
            RuntimeDir(fleet.name)


def test_after_the_end_nothing_is_left() -> None:
    with Supervised(actor("a"), actor("b")) as fleet:
        fleet.reach("b", "READY")
    assert fleet.process.returncode == 0
    assert not (runtime_base() / fleet.name).exists()


def test_when_the_supervisor_is_killed_all_are_gone_within_3_s_even_stopped_ones(
    tmp_path: Path,
) -> None:
    note = tmp_path / "pids"
    kinds = ["Steady", "IgnoresSigterm", "Steady", "HangAfterReady"]
    patient = Rules(hang_timeout_s=60)
    actors = [actor(f"a{i}", kind, patient) for i, kind in enumerate(kinds)]
    actors.append(actor("g", "LeavesGrandchildren", patient, note=str(note)))
    with Supervised(*actors) as fleet:
        for i in range(len(kinds)):
            fleet.reach(f"a{i}", "READY")
        until(lambda: note.exists() and len(note.read_text().split()) == 2)
        pids = [row["pid"] for row in fleet.status()["actors"]]
        in_group = int(note.read_text().split()[0])
        os.kill(fleet.row("a2")["pid"], signal.SIGSTOP)
        began = time.monotonic()
        fleet.process.kill()
        until(lambda: not any(exists(pid) for pid in [*pids, in_group]), 3.0)
        assert time.monotonic() - began < 3.0
        hidden = int(note.read_text().split()[1])
        os.kill(hidden, signal.SIGKILL)
        until(lambda: not (runtime_base() / fleet.name).exists(), 3.0)


def test_a_fleet_starts_again_right_after_its_supervisor_was_killed() -> None:
    """The new one waits for the burial of the old one's actors: never two of a name alive."""
    with Supervised(actor("a", "IgnoresSigterm")) as fleet:
        pid = fleet.reach("a", "READY")["pid"]
        fleet.process.kill()
        fleet.process.wait()
        with Supervised(actor("a")) as again:
            assert not exists(pid)
            again.reach("a", "READY")


def test_a_killed_cleanup_process_is_replaced_and_still_cleans_up(tmp_path: Path) -> None:
    with Supervised(actor("a", "IgnoresSigterm", Rules(hang_timeout_s=60))) as fleet:
        pid = fleet.reach("a", "READY")["pid"]
        cleanup = _cleanup_process(fleet)
        os.kill(cleanup, signal.SIGKILL)
        until(lambda: _child(fleet, b"cleanup_process") not in (cleanup, 0))
        fleet.process.kill()
        until(lambda: not exists(pid), 3.5)


def test_a_frozen_cleanup_process_is_replaced_and_its_lock_holds_up_no_new_fleet() -> None:
    """Noticed while the supervisor lives, whose death then ends as ever."""
    with Supervised(actor("a", "IgnoresSigterm", Rules(hang_timeout_s=60))) as fleet:
        pid = fleet.reach("a", "READY")["pid"]
        cleanup = _cleanup_process(fleet)
        until(lambda: _asleep(cleanup))
        os.kill(cleanup, signal.SIGSTOP)
        until(lambda: _child(fleet, b"cleanup_process") not in (cleanup, 0), why="not replaced")
        assert not exists(cleanup)
        fleet.process.kill()
        until(lambda: not exists(pid), 3.5)
        until(lambda: not (runtime_base() / fleet.name).exists(), 3.0)


def _cleanup_process(fleet: Supervised) -> int:
    """Its pid. Never 0, which `os.kill` would take for this process's own group."""
    pid = _child(fleet, b"cleanup_process")
    assert pid, "the supervisor has no cleanup process"
    return pid


def _child(fleet: Supervised, word: bytes, but: int = 0) -> int:
    """The supervisor's live child with `word` in its command line; 0 if there is none."""
    return next((pid for pid in _children(fleet, word) if pid != but), 0)


def _children(fleet: Supervised, word: bytes) -> list[int]:
    task = Path(f"/proc/{fleet.process.pid}/task/{fleet.process.pid}")
    pids = [int(pid) for pid in (task / "children").read_text().split()]
    return [p for p in pids if exists(p) and word in Path(f"/proc/{p}/cmdline").read_bytes()]


def test_the_supervisor_costs_next_to_nothing_when_idle() -> None:
    """The aim is 1 % of a core with 30 actors; 3 % here leaves room for a busy test machine."""
    slow = Rules(hang_timeout_s=60, stop_timeout_s=2)
    with Supervised(*(actor(f"a{i}", "Steady", slow) for i in range(10))) as fleet:
        for i in range(10):
            fleet.reach(f"a{i}", "READY", deadline_s=40)
        fleet_pid = fleet.process.pid

        def used() -> float:
            fields = Path(f"/proc/{fleet_pid}/stat").read_text().rpartition(")")[2].split()
            return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

        before, began = used(), time.monotonic()
        while time.monotonic() - began < 3:
            time.sleep(0.1)
        assert (used() - before) / 3 < 0.03


def test_an_cleanup_process_that_does_not_listen_holds_up_nobody() -> None:
    """As many words as no socket holds; it is told them all once it listens again."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    link = CleanupLink(ours)
    for pid in range(1, 2001):
        link.forget(pid)
    received = []
    theirs.setblocking(False)
    deadline_s = time.monotonic() + 5
    while len(received) < 2000 and time.monotonic() < deadline_s:
        link.flush()
        try:
            received.append(int(theirs.recv(64)[1:]))
        except BlockingIOError:
            continue
    assert received == list(range(1, 2001))
    link.close()
    theirs.close()


def test_a_reload_touches_only_what_changed(tmp_path: Path) -> None:
    small, large = (SegmentUse("shared", Seqlock.size_for(n), writable=True) for n in (64, 128))
    start = [actor("a"), actor("b"), actor("c"), actor("w", "Shares", segments=(small,))]
    change = [actor("a"), actor("c", after_s=60.0), actor("d")]
    change.append(actor("w", "Shares", segments=(large,)))
    with Supervised(*start) as fleet:
        for spec in start:
            fleet.reach(spec.name, "READY")
        before = {row["name"]: row["pid"] for row in fleet.status()["actors"]}
        plain = msgspec.to_builtins(change)
        said = fleet.ask("reform", actors=plain, dry=True)["difference"]
        assert said["added"] == ["d"] and said["removed"] == ["b"] and said["same"] == ["a"]
        assert said["changed"]["c"] == ["after_s is new: 60.0"]
        assert said["changed"]["w"] == ["shared memory shared"]
        assert {row["name"]: row["pid"] for row in fleet.status()["actors"]} == before
        fleet.ask("reform", actors=plain)
        fleet.reach("d", "READY")
        fleet.reach("c", "READY", 2)
        fleet.reach("w", "READY", 2)
        until(lambda: not any(row["name"] == "b" for row in fleet.status()["actors"]))
        assert not exists(before["b"])
        row = fleet.row("a")
        assert (row["pid"], row["incarnation"]) == (before["a"], 1)
        fd, size = attach(fleet.socket, "shared")
        os.close(fd)
        assert size == large.size
        assert "no actor 'b'" in fleet.refused("start", "b")
        broken = [{**plain[0], "member": {**plain[0]["member"], "after": ["nobody"]}}]
        assert "nobody" in fleet.refused("reform", actors=broken)
        assert fleet.status()["healthy"]


def test_an_actor_that_is_removed_and_added_before_its_process_is_gone_is_supervised() -> None:
    """The new incarnation is seen on the new board, so it is no hung one."""
    patient = Rules(stop_timeout_s=1.0, hang_timeout_s=0.6)
    gone, kept = actor("a", "IgnoresSigterm", patient), actor("b")
    with Supervised(gone, kept) as fleet:
        pid = fleet.reach("a", "READY")["pid"]
        fleet.ask("reform", actors=msgspec.to_builtins([kept]))
        assert exists(pid) and fleet.row("a")["state"] == "STOPPING"
        fleet.ask("reform", actors=msgspec.to_builtins([actor("a"), kept]))
        fleet.reach("a", "READY", 2)
        assert not exists(pid)
        turns = fleet.turns("a")
        until(lambda: fleet.turns("a") > turns + 60)  # over a second: twice its hang timeout
        row = fleet.row("a")
        assert (row["state"], row["incarnation"]) == ("READY", 2)


def test_a_reload_that_the_machine_has_no_room_for_changes_nothing() -> None:
    """Not even the memory of those whose turn came before the one that does not fit."""
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
            until(lambda: register.version > version)  # the writer still writes there
            register.close()
        os.close(fd)
        assert {row["name"]: row["pid"] for row in fleet.status()["actors"]} == before


def test_a_robot_without_a_control_actor_is_refused() -> None:
    with Supervised(actor("a")) as fleet:
        change = msgspec.to_builtins([actor("r1/network", robot="r1")])
        assert "r1/control" in fleet.refused("reform", actors=change)
        assert [row["name"] for row in fleet.status()["actors"]] == ["a"]


def test_a_fleet_that_stops_takes_no_other_file() -> None:
    with Supervised(actor("a", "IgnoresSigterm", Rules(stop_timeout_s=2.0))) as fleet:
        fleet.reach("a", "READY")
        fleet.ask("shutdown")
        change = msgspec.to_builtins([actor("b")])
        assert "is stopping" in fleet.refused("reform", actors=change)
