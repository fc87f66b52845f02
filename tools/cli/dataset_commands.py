"""The commands of `actorctl dataset`: what is done with a recorded dataset.

Exit status 0 for a dataset that is whole, 1 for one with damage, 2 for none.
"""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from ...errors import DatasetError
from ..evaluation.intervals import wilson
from .dataset_rerun import rerun
from .dataset_transcode import transcode
from .dataset_upload import upload
from .option_types import AsJson
from .running_fleet import fail

if TYPE_CHECKING:
    from ...robot.dataset.verification import Verification, VerifiedEpisode

app = typer.Typer(
    help="Show, check, mend, transcode or upload a recorded dataset.", no_args_is_help=True
)
app.command()(rerun)
app.command()(upload)
app.command()(transcode)
Place = Annotated[Path, typer.Argument(metavar="PATH", help="The dataset's folder.")]

WHOLE, DAMAGED, NONE = 0, 1, 2
_WHOLE_LINE = 10_000
"""Characters: more than any row has."""


@app.command()
def verify(path: Place, as_json: AsJson = False) -> None:
    """Read every file of it, and say what is wrong.

    Exit status 0 if all is whole, 1 if something is damaged, 2 if it is no dataset."""
    found = _verified(path, thorough=True)
    faults = [*found.faults, *(f"episode {e.entry.index}: {f}" for e, f in _faults(found))]
    if as_json:
        print(json.dumps({"whole": found.whole, **_counts(found), "faults": faults}, indent=2))
    else:
        for fault in faults:
            print(fault)
        print(_summary(path, found))
    raise SystemExit(WHOLE if found.whole else DAMAGED)


@app.command()
def repair(path: Place) -> None:
    """Complete an interrupted commit; rebuild files of meta; keep the episodes before the first
    damaged one.

    Files of meta that are missing or damaged are rebuilt from the rest, and what cannot be known
    from it is said. What is replaced or cut off is moved to .recording/aside-N in the dataset, not
    deleted. Exit status 0 if it is whole afterwards, 1 if not, 2 if it is no dataset."""
    recovery = _imported("recovery")
    from ...robot.dataset.dataset_writer import locked

    meta_rebuild = _imported("meta_rebuild")
    path = path.expanduser()
    if not meta_rebuild.has_rows(path):
        _verified(path, thorough=False)
    try:
        with locked(path):
            done = recovery.redo(path)
            done += meta_rebuild.rebuild(path)
            found = _verified(path, thorough=True)
            kept = []
            for each in found.episodes:
                if each.faults:
                    break
                kept.append(each)
            done += recovery.cut_back(path, found.info, kept)
    except (DatasetError, OSError) as error:
        fail(str(error), DAMAGED)
    for sentence in done or ["nothing was to be mended"]:
        print(sentence)
    found = _verified(path, thorough=True)
    print(_summary(path, found))
    raise SystemExit(WHOLE if found.whole else DAMAGED)


@app.command()
def show(path: Place, as_json: AsJson = False) -> None:
    """Its episodes: length, task, success, repeated images, interventions, latency."""
    _imported("dataset_reader")
    from ...robot.dataset.dataset_reader import Dataset

    try:
        dataset = Dataset(path)
        rows = [_row(episode, dataset.fps) for episode in dataset]
    except DatasetError as error:
        fail(str(error), NONE)
    if as_json:
        print(json.dumps({"fps": dataset.fps, "cameras": dataset.cameras, "episodes": rows}))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, header_style="dim")
    for name in ("episode", "frames", "seconds", "success", "repeated", "by hand"):
        table.add_column(name, justify="right")
    for name in ("latency p50", "robot", "task"):
        right = name == "latency p50"
        table.add_column(name, justify="right" if right else "left", no_wrap=name != "task")
    for row in rows:
        table.add_row(
            str(row["episode"]),
            str(row["frames"]),
            f"{row['seconds']:.1f}",
            {True: "yes", False: "no"}.get(row["success"], "-"),
            _known(row["repeated"]),
            _known(row["interventions"]),
            "-" if row["latency_p50_s"] is None else f"{1e3 * row['latency_p50_s']:.0f} ms",
            row["robot"] or "-",
            "; ".join(row["tasks"]),
        )
    judged = [row["success"] for row in rows if row["success"] is not None]
    print(f"{path}: {len(rows)} episodes, {dataset.frames} frames, {dataset.fps:g} fps")
    print(f"cameras: {', '.join(dataset.cameras) or 'none'}")
    if judged:
        low, high = wilson(sum(judged), len(judged))
        print(
            f"success: {sum(judged)} of {len(judged)} judged "
            f"(95 % interval {100 * low:.0f} to {100 * high:.0f} %)"
        )
    # A program that reads it gets each column whole: without a terminal, rich takes 80 characters.
    console = Console()
    (console if console.is_terminal else Console(width=_WHOLE_LINE)).print(table)


@app.command()
def view(
    path: Place,
    port: Annotated[int, typer.Option(help="Of the page; 0: a free one.", min=0, max=65535)] = 0,
) -> None:
    """Its episodes in a browser: videos, curves and where each action is from. Until Ctrl-C.

    The page is for this machine only, and for who has the link that is printed."""
    _imported("episode_pages")
    from ...actors.gateway.dataset_viewer import DatasetViewer
    from ...robot.dataset.episode_pages import EpisodePages

    try:
        EpisodePages(path)
        viewer = DatasetViewer(path, port)
    except DatasetError as error:
        fail(str(error), NONE)
    except OSError as error:
        fail(f"port {port} cannot be used: {error.strerror}; name another by --port", DAMAGED)
    with suppress(KeyboardInterrupt):
        viewer.serve(lambda url: print(f"{path} is at {url}  (Ctrl-C ends it)", flush=True))


def _row(episode: Any, fps: float) -> dict[str, Any]:
    entry, features = episode.entry, episode.features
    found: dict[str, Any] = {
        "episode": entry.index,
        "frames": entry.length,
        "seconds": entry.length / fps,
        "tasks": list(entry.tasks),
        "success": entry.extra.get("success"),
        "robot": entry.extra.get("robot"),
        "recorded_at": entry.extra.get("recorded_at"),
        "repeated": None,
        "interventions": None,
        "latency_p50_s": None,
    }
    if "repeated" in features:
        found["repeated"] = int(episode.column("repeated").sum())
    if "intervention" in features:
        found["interventions"] = int(episode.column("intervention").sum())
    if "latency_s" in features:
        known = sorted(value for value in episode.column("latency_s").tolist() if value > 0)
        found["latency_p50_s"] = known[len(known) // 2] if known else None
    return found


def _faults(found: Verification) -> list[tuple[VerifiedEpisode, str]]:
    return [(each, fault) for each in found.episodes for fault in each.faults]


def _counts(found: Verification) -> dict[str, int]:
    damaged = sum(1 for each in found.episodes if each.faults)
    info = found.info
    return {"episodes": info.total_episodes, "frames": info.total_frames, "damaged": damaged}


def _summary(path: Path, found: Verification) -> str:
    counts = _counts(found)
    what = f"{path}: {counts['episodes']} episodes, {counts['frames']} frames"
    if found.whole:
        return f"{what}, all whole"
    return f"{what}, {counts['damaged']} episodes damaged: `actorctl dataset repair` mends it"


def _verified(path: Path, thorough: bool) -> Verification:
    verification = _imported("verification")
    try:
        found: Verification = verification.verify(path.expanduser(), thorough)
    except DatasetError as error:
        fail(str(error), NONE)
    return found


def _known(value: int | None) -> str:
    return "-" if value is None else str(value)


def _imported(name: str) -> Any:
    """A module of datasets, which need packages that not everyone installs."""
    from importlib import import_module

    try:
        return import_module(f"...robot.dataset.{name}", __package__)
    except ModuleNotFoundError as error:
        _missing(error)


def _missing(error: ModuleNotFoundError) -> NoReturn:
    fail(f"this needs {error.name}: `pip install 'holdfast[data]'`", NONE)
