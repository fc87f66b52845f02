"""`Match`: which columns and images of a dataset are what a service calls by its names. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from ...actors.embedding.service_list import ServiceOffer
from ...actors.runtime.suggestions import closest
from ...errors import DatasetError
from ...robot.dataset.dataset_info import ACTION, IMAGES, STATE
from ...robot.dataset.dataset_reader import Dataset
from .presentation import Presentation
from .verification_run import PolicyFinding

_RATES_APART = 0.01


@dataclass(frozen=True)
class Match:
    """`cameras`: the dataset's key of each camera of the service; `others`: presentations that undo
    a mistake in the names; `findings`: what is known before anything is asked."""

    cameras: dict[str, str]
    deployed: Presentation
    others: tuple[Presentation, ...]
    findings: tuple[PolicyFinding, ...]


def match(dataset: Dataset, offer: ServiceOffer, rename: Mapping[str, str]) -> Match:
    """By name. `rename`: the service's name of each of the dataset's, where they differ. Raises
    DatasetError for a dataset that lacks what the service needs, or a name of `rename`."""
    shorts = [key.removeprefix(IMAGES) for key in dataset.cameras]
    names = {*dataset.names(STATE), *dataset.names(ACTION), *dataset.cameras, *shorts}
    for theirs in rename:
        if theirs not in names:
            raise DatasetError(
                f"--rename {theirs}: {dataset.root} has no such state, action or camera; "
                f"{closest(theirs, sorted(names))}"
            )
    states, state_finding = _columns("state", dataset, STATE, offer.state_names, rename)
    actions, action_finding = _columns("actions", dataset, ACTION, offer.action_names, rename)
    deployed = Presentation(states, actions)
    findings = [found for found in (state_finding, action_finding) if found]
    findings += _rate(dataset, offer)
    return Match(
        _cameras(dataset, offer, rename),
        deployed,
        tuple(_orders(dataset, offer, deployed)),
        tuple(findings),
    )


def _columns(
    what: str, dataset: Dataset, key: str, wanted: Sequence[str], rename: Mapping[str, str]
) -> tuple[tuple[int, ...], PolicyFinding | None]:
    """The dataset's column of each of the service's names, and what is to be said of them."""
    if not wanted:
        return (), None
    names = [rename.get(name, name) for name in dataset.names(key)]
    shape = dataset.features[key].shape
    count = len(names) or (shape[0] if shape else 1)
    by_count = tuple(range(len(wanted)))
    if set(wanted) <= set(names):
        columns = tuple(names.index(name) for name in wanted)
        if columns == by_count or len(names) != len(wanted):
            return columns, None
        words = f"in another order than in the dataset ({', '.join(names)}): {', '.join(wanted)}"
        said = PolicyFinding(
            f"the names of the {what}", f"the service has them {words}", beyond=False
        )
        return columns, said
    if count != len(wanted):
        raise DatasetError(
            f"{dataset.root} has {count} values of {key} ({', '.join(names) or 'not named'}), the "
            f"service takes {len(wanted)}: {', '.join(wanted)}; map names by --rename THEIRS=OURS"
        )
    there = f"named otherwise in the dataset ({', '.join(names)})" if names else "not named there"
    words = f"{there}: compared in the order {', '.join(wanted)}, which nothing checks"
    return by_count, PolicyFinding(f"the names of the {what}", words, beyond=False)


def _orders(dataset: Dataset, offer: ServiceOffer, deployed: Presentation) -> list[Presentation]:
    """The dataset's own order, where the service names another."""
    own = replace(
        deployed,
        states=tuple(range(len(deployed.states))),
        actions=tuple(range(len(deployed.actions))),
    )
    if (own.states, own.actions) == (deployed.states, deployed.actions):
        return []
    if sorted(deployed.states) != list(own.states) or sorted(deployed.actions) != list(own.actions):
        return []
    there = ", ".join(dataset.names(ACTION))
    mistake = (
        f"its columns are in the dataset's order ({there}), and the service names them in another "
        f"({', '.join(offer.action_names)}): give it the dataset's names"
    )
    moved = [name for k, name in enumerate(offer.action_names) if deployed.actions[k] != k] or [
        name for k, name in enumerate(offer.state_names) if deployed.states[k] != k
    ]
    subject = f"joints {', '.join(moved)}"
    both = replace(own, subject=subject, mistake=mistake)
    alone = [replace(both, states=deployed.states), replace(both, actions=deployed.actions)]
    known = [(p.states, p.actions) for p in (both, deployed)]
    return [both, *(p for p in alone if (p.states, p.actions) not in known)]


def _cameras(dataset: Dataset, offer: ServiceOffer, rename: Mapping[str, str]) -> dict[str, str]:
    there = {}
    for key in dataset.cameras:
        short = key.removeprefix(IMAGES)
        there[rename.get(short, rename.get(key, short))] = key
    missing = [name for name in offer.cameras if name not in there]
    if missing:
        raise DatasetError(
            f"{dataset.root} has no camera {', '.join(missing)}, which the service sees: it has "
            f"{', '.join(there) or 'none'}; map names by --rename THEIRS=OURS"
        )
    return {name: there[name] for name in offer.cameras}


def _rate(dataset: Dataset, offer: ServiceOffer) -> list[PolicyFinding]:
    if not offer.fps or abs(dataset.fps - offer.fps) <= _RATES_APART * offer.fps:
        return []
    words = f"the dataset has {dataset.fps:g} steps per second, the service {offer.fps:g}"
    return [PolicyFinding("the rate", f"{words}: each step of a chunk is for another instant")]
