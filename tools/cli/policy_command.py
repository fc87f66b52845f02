"""`actorctl policy`: whether a deployed policy does as it was trained."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import typer

from .option_types import AsJson, FleetName
from .running_fleet import ask, fail, reach

app = typer.Typer(help="A policy as it is deployed.", no_args_is_help=True)


@app.callback()
def policy() -> None:
    """A policy as it is deployed."""


@app.command()
def verify(
    service: Annotated[str, typer.Argument(help="A service of the running fleet, e.g. pick.")],
    dataset: Annotated[
        Path, typer.Option(metavar="PATH", help="A LeRobotDataset v3.0, as it was recorded.")
    ],
    episodes: Annotated[int, typer.Option(min=1, help="So many of the dataset's first.")] = 5,
    samples: Annotated[int, typer.Option(min=1, help="So many observations of each.")] = 12,
    training_resize: Annotated[
        str, typer.Option(help="How the training resized images: stretch, pad (openpi) or crop.")
    ] = "stretch",
    jpeg_quality: Annotated[
        int, typer.Option(min=0, max=100, help="As the robot's; 0: raw, as on one host.")
    ] = 0,
    rename: Annotated[
        list[str] | None,
        typer.Option(metavar="THEIRS=OURS", help="The dataset's name, and the service's for it."),
    ] = None,
    joint_tolerance: Annotated[
        float, typer.Option(min=0.0, help="Error of a joint, as a share of how far it moves.")
    ] = 0.1,
    pixel_tolerance: Annotated[
        float, typer.Option(min=0.0, help="Mean difference of an image's values, of 255.")
    ] = 4.0,
    checkpoint: Annotated[
        Path | None,
        typer.Option(metavar="DIRECTORY", help="Compare its statistics with the dataset's, too."),
    ] = None,
    key: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A robot's key, in a fleet with keys.")
    ] = None,
    broker_key: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The broker's public one.")
    ] = None,
    as_json: AsJson = False,
    fleet: FleetName = None,
) -> None:
    """Give recorded observations to a running service, and compare its actions with the recorded.

    On the broker's host, through broker, replica and postprocessing, as one more robot. Where the
    actions differ, says under which order of names, of colours, or way of resizing they would not.
    Exit status 1 if something is beyond the tolerances.
    """
    if not (find_spec("pyarrow") and find_spec("av")):
        fail("verify reads datasets, which needs pyarrow and av: pip install 'holdfast[data]'")
    from ...actors.embedding.identity import Identity
    from ...actors.embedding.service_list import offers
    from ...actors.runtime.suggestions import closest
    from ...errors import HoldfastError
    from ...transport import sockets
    from ...transport.keys import Role
    from ..parity import verification_text
    from ..parity.deployed_verification import Question, verification
    from ..parity.image_fit import FITS
    from ..parity.verification_run import Tolerances

    if training_resize not in FITS:
        fail(f"--training-resize {training_resize!r}; {closest(training_resize, list(FITS))}")
    pairs = dict(_pair(each) for each in rename or ())
    path = reach(fleet)
    found = offers(ask(path, do="status")["status"])
    if found is None:
        fail("this host has no broker, or it has not reported yet: ask on its host, or again")
    by_name = {offer.name: offer for offer in found}
    if service not in by_name:
        fail(f"no service {service!r}; {closest(service, list(by_name))}")
    if not by_name[service].listed:
        fail(f"service {service} has no replica that is ready: see `actorctl status`")
    try:
        question = Question(
            offer=by_name[service],
            broker=sockets.ipc(path.parent, "broker.front"),
            dataset=dataset,
            episodes=episodes,
            samples=samples,
            training=next(fit for fit in FITS if fit == training_resize),
            jpeg_quality=jpeg_quality,
            rename=pairs,
            tolerances=Tolerances(joint_tolerance, pixel_tolerance),
            checkpoint=checkpoint,
            identity=Identity.of(Role.ROBOT, key, broker_key),
        )
        result = verification(question)
    except (HoldfastError, ValueError) as error:
        fail(str(error))
    told: dict[str, Any] = verification_text.plain(question, result)
    print(json.dumps(told) if as_json else verification_text.text(told))
    raise SystemExit(0 if result.ok else 1)


def _pair(text: str) -> tuple[str, str]:
    theirs, equals, ours = text.partition("=")
    if not (theirs and equals and ours):
        fail(f"--rename {text!r}, expected THEIRS=OURS: the dataset's name, and the service's")
    return theirs, ours
