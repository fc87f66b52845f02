"""`actorctl plot`: which steps are drawn, and the picture itself."""

from __future__ import annotations

from pathlib import Path

import cv2
import msgspec
import numpy as np
import pytest

from holdfast.actors.network.executed_log import ExecutedHead, ExecutedStep
from holdfast.tools.cli import executed_plot

HEAD = ExecutedHead(
    robot="r1", fps=10.0, state_names=("a",), action_names=("a", "b"), epoch_ns=10**18
)


def step(tick: int, seq: int | None = 1) -> ExecutedStep:
    return ExecutedStep(
        tick=tick,
        at_ns=tick * 10**8,
        late_ns=0,
        episode=0,
        state=[tick / 10],
        command=None if seq is None else [tick / 10, -tick / 10],
        session=None if seq is None else 1,
        seq=seq,
        step=None if seq is None else 0,
        observed_ns=None if seq is None else tick * 10**8 - 5 * 10**7,
    )


def written(path: Path, *lines: ExecutedHead | ExecutedStep) -> Path:
    path.write_bytes(b"".join(msgspec.json.encode(line) + b"\n" for line in lines))
    return path


def test_the_last_run_is_drawn_and_of_it_the_last_seconds(tmp_path: Path) -> None:
    """A count of ticks that begins anew is another run; a restarted writer continues its run."""
    path = written(
        tmp_path / "r1.jsonl",
        HEAD,
        *(step(k) for k in range(50)),
        HEAD,
        *(step(k) for k in range(10)),
        msgspec.structs.replace(HEAD, epoch_ns=HEAD.epoch_ns + 1000),
        *(step(k) for k in range(10, 40)),
    )
    assert [s.tick for s in executed_plot.newest(path, None, 60.0).steps] == list(range(40))
    assert [s.tick for s in executed_plot.newest(path, None, 1.0).steps] == list(range(29, 40))
    since_s = 1e9 + 2.0
    assert executed_plot.newest(path, since_s, 60.0).steps[0].tick == 20
    with pytest.raises(ValueError, match="no step in that time"):
        executed_plot.newest(path, since_s + 100, 60.0)


def test_older_files_come_first(tmp_path: Path) -> None:
    """The bounded file is read as one."""
    path = written(tmp_path / "r1.jsonl", HEAD, *(step(k) for k in range(10, 20)))
    written(tmp_path / "r1.jsonl.1", HEAD, *(step(k) for k in range(10)))
    assert len(executed_plot.newest(path, None, 60.0).steps) == 20


def test_a_seam_is_where_another_chunk_is_played(tmp_path: Path) -> None:
    """The begin of the fallback is no seam."""
    seqs = [1, 1, 2, 2, None, None, 2, 3]
    path = written(tmp_path / "r1.jsonl", HEAD, *(step(k, seq) for k, seq in enumerate(seqs)))
    assert executed_plot.newest(path, None, 60.0).seams() == [2, 6, 7]


def test_latencies_are_those_of_answered_requests_in_that_time(tmp_path: Path) -> None:
    """Errors, earlier requests and a line that is being written are left out."""
    audit = tmp_path / "r1.network.jsonl"
    audit.write_text(
        '{"at": 1.0, "outcome": "reply", "latency_s": 0.1}\n'
        '{"at": 5.0, "outcome": "reply", "latency_s": 0.2}\n'
        '{"at": 6.0, "outcome": "error", "latency_s": 0.3}\n'
        '{"at": 7.0, "outc'
    )
    assert executed_plot.latencies(audit, 2.0, 10.0).tolist() == [[5.0, 0.2]]


def test_the_picture_shows_commands_states_and_where_none_went_out(tmp_path: Path) -> None:
    """Its colours are those of the curves and of the red stretch."""
    pytest.importorskip("matplotlib", reason="needs the plots extra")
    steps = [step(k, 1 + k // 10 if k < 30 else None) for k in range(40)]
    path = written(tmp_path / "r1.jsonl", HEAD, *steps)
    run = executed_plot.newest(path, None, 60.0)
    out = tmp_path / "r1.png"
    executed_plot.draw(run, np.array([[1e9 + 1.0, 0.05]]), ("a", "b"), out)
    picture = cv2.imread(str(out))
    assert picture is not None
    pixels = picture[:, :, ::-1].reshape(-1, 3).astype(int)
    for name, colour in {
        "state": (31, 119, 180),
        "command": (255, 127, 14),
        "age": (44, 160, 44),
        "no command": (250, 228, 228),
    }.items():
        close = (np.abs(pixels - colour).max(axis=1) < 8).sum()
        assert close > 100, f"{close} pixels have the colour of {name}"


def test_the_title_says_what_the_shades_of_this_picture_mean() -> None:
    """By whose command the steps are; what the picture does not have is left out."""
    by_hand = msgspec.structs.replace(step(1, None), command=[0.0, 0.0], by="person")
    moved = msgspec.structs.replace(by_hand, tick=2, by="motion")
    run = executed_plot.ExecutedRun(HEAD, [step(0, None), by_hand, moved])
    assert executed_plot.legend(run) == (
        "red where no command went out, blue where a person commanded, "
        "green where it moved to a pose"
    )
    run = executed_plot.ExecutedRun(HEAD, [step(0), step(1, 2)])
    assert executed_plot.legend(run) == "grey lines where a chunk begins"
