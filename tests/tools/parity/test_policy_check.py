"""What explains a policy's errors, with functions as policies; and what needs no asking."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from holdfast.actors.embedding.service_list import ServiceOffer
from holdfast.errors import DatasetError
from holdfast.policy.checkpoint import NormStats
from holdfast.policy.normalize import Stats
from holdfast.robot.dataset.dataset_reader import Dataset
from holdfast.tests.robot.dataset import recordings
from holdfast.tools.parity.checkpoint_statistics import compared
from holdfast.tools.parity.deployed_verification import colours
from holdfast.tools.parity.image_fit import fitted
from holdfast.tools.parity.joint_errors import JointErrors, spans, step_groups
from holdfast.tools.parity.matching import match
from holdfast.tools.parity.presentation import Presentation
from holdfast.tools.parity.recorded_samples import RecordedSample, recorded_samples
from holdfast.tools.parity.verification_run import PolicyCheck, Tolerances, Verified
from holdfast.transport.images import Pixels

JOINTS = ("a", "b", "c")
STEPS = 4
Shown = Mapping[str, Pixels]


def sample(number: int) -> RecordedSample:
    """One whose actions are its state plus the redness of its image, for all joints."""
    random = np.random.default_rng(number)
    state = random.normal(size=3).astype(np.float32)
    image = np.full((16, 32, 3), random.integers(0, 256, 3), np.uint8)
    actions = np.tile(state + image[..., 0].mean() / 255, (STEPS, 1)).astype(np.float32)
    return RecordedSample(number, 0, state, actions, {"front": image}, "reach")


def checked(order: list[int], task: str | None = None) -> Verified:
    """A policy that predicts these columns for its own."""

    def ask(state: NDArray[np.float32], images: Shown, given: str) -> NDArray[np.float32]:
        assert given == ("reach" if task is None else task)
        red = images["front"][..., 0].mean() / 255
        return np.tile((state + red)[order], (STEPS, 1)).astype(np.float32)

    samples = [sample(number) for number in range(12)]
    check = PolicyCheck(samples, {"front": (16, 16)}, JOINTS, ask, lambda image: image, task=task)
    straight = tuple(range(3))
    return check.run(Presentation(straight, straight), Tolerances())


def test_two_joints_that_are_predicted_for_each_other_are_named() -> None:
    """Although all names are in the dataset's order."""
    found = checked([0, 2, 1])
    assert not found.ok
    (why,) = [each for each in found.findings if each.subject.startswith("joints")]
    assert why.subject == "joints b, c"
    assert "each is predicted for the other" in why.words


def test_an_error_that_nothing_explains_says_what_is_left_to_look_at() -> None:
    """Three joints in a circle are no exchange of two."""
    found = checked([1, 2, 0])
    assert found.findings[-1].subject == "the policy"
    assert "look at its weights and task" in found.findings[-1].words


def test_a_policy_as_trained_has_no_finding() -> None:
    """Its errors are zero; a pinned service is given no task."""
    assert checked([0, 1, 2]).findings == []
    assert checked([0, 1, 2], task="").errors.score == pytest.approx(0.0, abs=1e-6)


def test_errors_are_grouped_by_steps_and_measured_by_what_a_joint_moves() -> None:
    """Steps after an episode's end count nowhere."""
    assert step_groups(8) == [range(1), range(1, 2), range(2, 4), range(4, 8)]
    assert step_groups(1) == [range(1)]
    moves = spans(np.array([[0.0, 5.0], [10.0, 5.0]], np.float32))
    assert moves == pytest.approx([9.8, 5.0])
    errors = np.full((1, 4, 2), np.nan)
    errors[0, :2] = [[1.0, 2.0], [3.0, 2.0]]
    first, _ = JointErrors(("a", "b"), errors, moves).rows()
    steps: Any = first["steps"]
    zero, one, later = steps
    assert (zero["steps"], zero["mean"], one["max"]) == ("0", 1.0, 3.0)
    assert later == {"steps": "2-3", "n": 0}


def test_a_crop_and_a_padding_keep_the_shape_of_what_is_seen() -> None:
    """A crop loses the sides, a padding adds black."""
    image = np.full((16, 32, 3), 200, np.uint8)
    image[:, :8] = 0
    assert fitted(image, 16, 16, "crop").min() == 200
    padded = fitted(image, 16, 16, "pad")
    assert padded[:4].max() == 0 and padded[4:12, 8:].min() == 200


def offer(**more: Any) -> ServiceOffer:
    """A service for `recordings.SCHEMA`."""
    given: dict[str, Any] = {
        "state_names": ("x", "y", "yaw"),
        "action_names": ("x", "y"),
        "cameras": {"top": (64, 48)},
        "chunk_size": 4,
        "fps": 30.0,
    }
    return ServiceOffer(name="pick", listed=True, **{**given, **more})


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    root = tmp_path_factory.mktemp("parity") / "set"
    recordings.dataset(root)
    return Dataset(root)


def test_names_are_matched_and_what_differs_is_said(dataset: Dataset) -> None:
    """Another order, another rate, other names, and what the dataset does not have."""
    assert match(dataset, offer(), {}).findings == ()
    moved = match(dataset, offer(action_names=("y", "x")), {})
    assert moved.deployed.actions == (1, 0)
    assert [other.actions for other in moved.others] == [(0, 1)]
    assert "another order" in moved.findings[0].words and not moved.findings[0].beyond
    (rate,) = match(dataset, offer(fps=15.0), {}).findings
    assert rate.beyond and "30 steps per second, the service 15" in rate.words
    named = match(dataset, offer(action_names=("u", "v")), {})
    assert "which nothing checks" in named.findings[0].words
    other = offer(action_names=("u", "v"), state_names=("u", "v", "yaw"))
    assert match(dataset, other, {"x": "u", "y": "v"}).findings == ()
    with pytest.raises(DatasetError, match=r"--rename xx: .* has no such .*did you mean 'x'"):
        match(dataset, offer(), {"xx": "u"})
    with pytest.raises(DatasetError, match="has no camera front"):
        match(dataset, offer(cameras={"front": (8, 8)}), {})
    with pytest.raises(DatasetError, match="2 values of action"):
        match(dataset, offer(action_names=("u", "v", "w")), {})


def test_samples_are_spread_over_each_episode(dataset: Dataset) -> None:
    """The last frame is among them, with the one action that is left."""
    cameras = {"top": "observation.images.top"}
    found = list(recorded_samples(dataset, cameras, 2, 3, horizon=4))
    assert [(each.episode, each.frame) for each in found] == [
        *((0, 0), (0, 2), (0, 4)),
        *((1, 0), (1, 3), (1, 7)),
    ]
    assert [len(each.actions) for each in found] == [4, 3, 1, 4, 4, 1]
    assert found[0].images["top"].shape == (48, 64, 3)


def test_frames_that_are_exchanged_against_the_statistics_are_named(tmp_path: Path) -> None:
    """Red and blue, where the statistics tell them apart."""
    recordings.dataset(tmp_path / "set")
    key = "observation.images.top"
    stats = json.loads((tmp_path / "set/meta/stats.json").read_text())
    red = [sample_of((200, 20, 90))]
    for mean, count in (((0.35, 0.08, 0.78), 1), ((0.78, 0.08, 0.35), 0), ((0.5, 0.5, 0.5), 0)):
        stats[key]["mean"] = [[[value]] for value in mean]
        (tmp_path / "set/meta/stats.json").write_text(json.dumps(stats))
        found = list(colours(Dataset(tmp_path / "set"), red, {"top": key}))
        assert len(found) == count
        assert all("one of them is BGR" in each.words for each in found)


def sample_of(colour: tuple[int, int, int]) -> RecordedSample:
    image = np.full((48, 64, 3), colour, np.uint8)
    nothing = np.zeros((1, 2), np.float32)
    return RecordedSample(0, 0, np.zeros(3, np.float32), nothing, {"top": image}, "")


def test_a_checkpoint_that_normalizes_by_another_dataset_is_named(
    dataset: Dataset, tmp_path: Path
) -> None:
    """By the entry of the state; a folder without statistics is an error."""
    states = np.concatenate([episode.states for episode in dataset])
    wrong = states * np.array([1, 57.3, 1], np.float32)
    for given, subjects in ((states, []), (wrong, ["state y"])):
        stats = NormStats(state=Stats.of(given), action=Stats.of(given[:, :2]))
        (tmp_path / "norm_stats.json").write_bytes(msgspec.json.encode(stats))
        found = compared(tmp_path, dataset, ("x", "y", "yaw"))
        assert [each.subject for each in found] == subjects
    with pytest.raises(DatasetError, match="has no statistics of the state"):
        compared(tmp_path / "nowhere", dataset, ())
